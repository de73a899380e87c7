"""An account is marked with where its bars come from."""

from __future__ import annotations

import pytest

from autotrader.apps.trader.trade import source_of
from autotrader.config.settings import Settings
from autotrader.domain.instruments import Venue


@pytest.mark.parametrize(
    ("label", "venue", "replayed", "source"),
    [
        ("binance", Venue.BINANCE, False, "live"),
        ("binance-archive", Venue.BINANCE, False, "live"),
        ("binance", Venue.BINANCE, True, "binance"),
        ("recorded", Venue.BINANCE, True, "recorded"),
        ("recorded", Venue.BINANCE, False, "recorded"),
        ("SIMULATED", Venue.BINANCE, False, "SIMULATED"),
        ("SIMULATED", Venue.OANDA, False, "live"),
    ],
)
def test_bars_of_a_stand_in_are_never_live_even_in_the_worlds_own_time(
    label: str, venue: Venue, replayed: bool, source: str
) -> None:
    settings = Settings(binance={"source": label})  # type: ignore[arg-type]
    assert source_of(settings, venue, replayed=replayed) == source
