"""Instruments and their names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.instruments import ASSET_CLASS_OF, AssetClass, InstrumentId, Venue

IDS = st.builds(InstrumentId, st.sampled_from(Venue), st.text(min_size=1, max_size=12))


@given(IDS)
@settings(max_examples=100)
def test_what_is_printed_is_read_back(instrument: InstrumentId) -> None:
    assert InstrumentId.parse(str(instrument)) == instrument


@pytest.mark.parametrize("text", ["BTCUSDT", "kraken:BTCUSDT", "binance:", ":BTCUSDT", "", "BINANCE:BTCUSDT"])
def test_another_text_is_refused_with_the_known_venues(text: str) -> None:
    with pytest.raises(ValueError, match=f"binance, ibkr, oanda, was '{text}'"):
        InstrumentId.parse(text)


def test_instruments_sort_by_venue_then_symbol() -> None:
    names = ["oanda:EUR_USD", "binance:ETHUSDT", "binance:BTCUSDT", "ibkr:AAPL"]
    assert [str(i) for i in sorted(map(InstrumentId.parse, names))] == sorted(names)


def test_every_venue_has_an_asset_class() -> None:
    assert ASSET_CLASS_OF == {
        Venue.BINANCE: AssetClass.CRYPTO,
        Venue.IBKR: AssetClass.EQUITY,
        Venue.OANDA: AssetClass.FX,
    }
