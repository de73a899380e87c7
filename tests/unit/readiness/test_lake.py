"""What the lake stage says of the age of bars."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.readiness import lake
from autotrader.readiness.findings import Finding, State
from tests.fakes.archive import InMemoryArchive
from tests.fakes.clocks import LiveAt
from tests.fakes.holds import InMemoryHolds
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY, Stores, market


@pytest.mark.parametrize(
    ("hours", "state", "said"),
    [
        (3.9, State.OK, "has what the data run of 2024-02-29 02:00 was due to bring"),
        (27.9, State.WARNING, "2 of 2 instruments are late: binance:BTCUSDT is 120 minutes short"),
        (28.1, State.FAILED, "2 of 2 instruments are late: binance:BTCUSDT is 1560 minutes short"),
    ],
)
def test_bars_are_late_when_a_data_run_did_not_bring_them(
    tmp_path: Path, hours: float, state: State, said: str
) -> None:
    """They end at midnight: the next run, at 02:00, and the one after it never came."""
    clock = LiveAt(NOW + timedelta(hours=hours))
    stores = Stores.filled(
        tmp_path / "lake", [market(i.symbol, days=2, momentum=0.0, seed=1) for i in INSTRUMENTS]
    )
    settings = Settings(
        home=tmp_path, strategy=STRATEGY, binance={"instruments": [i.symbol for i in INSTRUMENTS]}
    )

    def look() -> dict[str, Finding]:
        found = lake.look(
            settings=settings,
            lake=Lake(str(tmp_path / "lake")),
            holds=InMemoryHolds(),
            features=stores.features,
            archive=InMemoryArchive(),
            clock=clock,
        )
        return {finding.subject: finding for finding in found}

    age = look()["age of bars"]
    assert (age.state, said in age.reason) == (state, True), age.reason
