"""The two commands of the feature store, called as a person would."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from autotrader import command
from autotrader.adapters.clocks import StandingMarketClock
from autotrader.config.settings import BinanceSettings, Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ConfigurationError, ExitCode, NotFound
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from autotrader.features.store.__main__ import VERBS
from autotrader.features.store.health_check import check_rows, health_check
from autotrader.features.store.retry_write import RewriteReport, retry_write
from autotrader.features.store.store import FeatureStore
from autotrader.ports.holds import Hold
from tests.fakes.holds import InMemoryHolds
from tests.unit.features.market import MINUTE, START, walk

BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
SETTINGS = Settings(binance=BinanceSettings(instruments=("BTCUSDT",)))
BARS = walk(3 * 1440)
DAY = (START + timedelta(days=2)).date()


class Place:
    """A lake with three days of bars, and the market clock at their end."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(str(folder / "lake"))
        self.holds = InMemoryHolds()
        self.clock = StandingMarketClock(START + timedelta(days=3))
        self.store = FeatureStore(self.lake, self.clock)
        BarStore(self.lake, self.holds).upsert([BARS], commit_key="bars")

    def rewrite(self, **named: object) -> RewriteReport:
        ports = {"lake": self.lake, "holds": self.holds, "store": self.store, "clock": self.clock}
        return retry_write(**{"date": DAY, "settings": SETTINGS, **ports, **named})

    def health(self, **named: object) -> command.Result:
        ports = {"lake": self.lake, "holds": self.holds, "store": self.store, "clock": self.clock}
        return health_check(settings=SETTINGS, **ports, **named)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_day_is_computed_again_for_all_instruments(place: Place) -> None:
    done = place.rewrite()
    assert (done.inserted, done.replaced, done.unchanged) == (1440, 0, 0)
    stored = place.store.load_features([BTC], interval=Interval.M1)
    assert stored.select("ts", *BALANCED.names).equals(compute(BARS)[2 * 1440 :])
    again = place.rewrite()
    assert (again.inserted, again.replaced, again.unchanged, again.version) == (0, 0, 1440, done.version)


def test_rows_whose_bars_were_taken_back_are_removed_and_come_back_with_them(place: Place) -> None:
    place.rewrite()
    begin = START + timedelta(days=2, hours=3)
    hold = Hold("h", BTC, begin, begin + timedelta(hours=2), "wrong", "me", place.clock.now())
    place.holds.place(hold)
    bars = BarStore(place.lake, place.holds)
    bars.take_back(hold, superseded_at=place.clock.now())
    done = place.rewrite()
    assert done.removed == 120
    stored = place.store.load_features([BTC], interval=Interval.M1)["ts"].to_list()
    assert not [ts for ts in stored if hold.start <= ts < hold.end]
    assert place.rewrite().removed == 0

    place.holds.release("h", actor="me", at=place.clock.now())
    bars.put_back(hold)
    assert place.rewrite().inserted == 120


def test_a_damaged_day_is_made_right(place: Place) -> None:
    place.rewrite()
    good = place.store.load_features([BTC], interval=Interval.M1)
    place.store.write([good[100:110].with_columns(pl.col("hour") + 1)], commit_key="damage")
    assert place.rewrite().replaced == 10
    healed = place.store.load_features([BTC], interval=Interval.M1)
    assert healed.select("ts", *BALANCED.names).equals(good.select("ts", *BALANCED.names))


def test_a_day_that_cannot_be_is_refused(place: Place) -> None:
    with pytest.raises(ConfigurationError, match="expected a day up to"):
        place.rewrite(date=DAY + timedelta(days=30))
    with pytest.raises(NotFound, match="fetch them first"):
        place.rewrite(date=DAY - timedelta(days=30))
    with pytest.raises(NotFound, match="XRPUSDT"):
        place.rewrite(instruments=("XRPUSDT",))


def derive_all(place: Place) -> None:
    for days in (2, 1, 0):
        place.rewrite(date=DAY - timedelta(days=days))


def test_fresh_and_complete_features_are_healthy(place: Place) -> None:
    derive_all(place)
    found = place.health()
    assert found.exit_code is ExitCode.DONE
    assert "healthy" in found.text
    data = command.to_plain(found.data)
    assert (data["severity"], data["replay"]) == ("healthy", True)


def test_days_whose_bars_were_restated_are_named_until_they_are_derived_again(place: Place) -> None:
    derive_all(place)
    nth = 700  # of the first day, long before the newest rows
    restated = BARS[nth : nth + 1].with_columns(
        pl.col("close") * 1.001, high=pl.col("high") * 1.01, ingested_at=pl.col("ingested_at") + MINUTE
    )
    BarStore(place.lake, place.holds).upsert([restated], commit_key="r", seen_at=place.clock.now())
    data = command.to_plain(place.health().data)
    assert data["severity"] == "warning"
    assert "2024-02-01" in data["verdicts"][0]["reason"]
    (finding,) = [f for f in data["verdicts"][0]["findings"] if f["check"] == "stale_features"]
    assert finding["evidence"]["days"] == ["2024-02-01"]

    done = place.rewrite(date=DAY - timedelta(days=2))
    assert 0 < done.replaced <= BALANCED.lookback
    assert command.to_plain(place.health().data)["severity"] == "healthy"
    stored = place.store.load_features([BTC], interval=Interval.M1)
    whole = BARS.with_row_index().filter(pl.col("index") != nth).drop("index")
    assert stored.select("ts", *BALANCED.names).equals(compute(pl.concat([whole, restated]).sort("ts")))


def test_no_features_are_critical(place: Place) -> None:
    found = place.health()
    assert found.exit_code is ExitCode.FAILED
    assert "no feature rows" in found.text
    with pytest.raises(ConfigurationError, match="hours"):
        place.health(hours=0)


def test_features_that_lag_are_critical_after_two_hours(place: Place) -> None:
    place.rewrite()
    for minutes, code in ((50, ExitCode.DONE), (119, ExitCode.DONE), (130, ExitCode.FAILED)):
        place.clock = StandingMarketClock(START + timedelta(days=3, minutes=minutes))
        assert place.health().exit_code is code, minutes


def rows_of(values: list[float]) -> pl.DataFrame:
    features = compute(walk(500))[300:400]
    return features.with_columns(rsi_14=pl.Series(values, dtype=pl.Float32))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([50.0] * 100, None),
        ([0.0] * 50 + [100.0] * 50, None),
        ([float("nan")] * 4 + [50.0] * 96, None),
        ([float("nan")] * 6 + [50.0] * 94, ("missing_share", "warning")),
        ([float("nan")] * 11 + [50.0] * 89, ("missing_share", "critical")),
        ([100.5] + [50.0] * 99, ("range", "warning")),
        ([float("inf")] + [50.0] * 99, ("range", "critical")),
    ],
)
def test_missing_values_and_ranges_are_judged(values: list[float], expected: tuple[str, str] | None) -> None:
    findings = check_rows(BTC, rows_of(values), BALANCED.features)
    assert [(f.check, f.severity.value) for f in findings] == ([expected] if expected else [])
    assert all(f.evidence["feature"] == "rsi_14" for f in findings)


def test_what_a_venue_cannot_have_is_not_missing() -> None:
    apple = InstrumentId(Venue.IBKR, "AAPL")
    rows = rows_of([50.0] * 100).with_columns(taker_buy_share_20=pl.lit(float("nan"), pl.Float32))
    assert check_rows(apple, rows, BALANCED.features) == []
    assert [f.check for f in check_rows(BTC, rows, BALANCED.features)] == ["missing_share"]


def test_the_commands_run_from_a_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOTRADER_LAKE__URI", str(tmp_path / "lake"))
    monkeypatch.setenv("AUTOTRADER_CLOCK__MARKET_TIME", (START + 3 * 1440 * MINUTE).isoformat())
    monkeypatch.setenv("AUTOTRADER_BINANCE__INSTRUMENTS", "BTCUSDT")
    Place(tmp_path)
    assert command.run(health_check, ["--json"]) == ExitCode.FAILED
    assert json.loads(capsys.readouterr().out)["severity"] == "critical"


def test_the_package_lists_its_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run_noun("autotrader.features.store", VERBS, ["--help"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in ("health_check", "retry_write"))
