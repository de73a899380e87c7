"""`data_pipeline` in a running Airflow, on stand-ins of all three venues."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import polars as pl
import pytest

from autotrader.adapters.airflow_api import DagRun
from autotrader.data.bars import BarStore
from autotrader.data.calendars import expected_opens
from autotrader.domain.bars import Interval
from autotrader.domain.errors import Rejected
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.store.store import FeatureStore
from autotrader.ports.events import EventType
from tests.fakes.tws_gateway import Fault
from tests.integration.conftest import DAYS, END, Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

START = END - timedelta(days=DAYS)
INSTRUMENTS = [
    InstrumentId.parse(name)
    for name in ("binance:BTCUSDT", "binance:ETHUSDT", "ibkr:AAPL", "ibkr:MSFT", "oanda:EUR_USD")
]


def bars_of(platform: Platform) -> BarStore:
    container = platform.container()
    return BarStore(container.lake, container.holds)


def features_of(platform: Platform) -> FeatureStore:
    return platform.container().feature_store


@pytest.fixture(scope="module")
def backfill(platform: Platform) -> DagRun:
    run, tasks = platform.trigger("data_pipeline", {"mode": "backfill", "start_date": f"{START:%F}"})
    assert run.state == "success", platform.why(run)
    # One task a Binance and OANDA instrument, one for the gateway, which takes one connection.
    labels = {t.label for t in tasks["extract_market_data"]}
    assert labels == {"binance:BTCUSDT", "binance:ETHUSDT", "ibkr: 2 instruments", "oanda:EUR_USD"}
    return run


@pytest.fixture
def backfilled(platform: Platform, backfill: DagRun) -> Platform:
    assert backfill.state == "success"
    return platform


def test_a_backfill_stores_every_bar_that_each_market_had(backfilled: Platform) -> None:
    stored = bars_of(backfilled).read(INSTRUMENTS, interval=Interval.M1)
    for name in INSTRUMENTS:
        rows = stored.filter(venue=name.venue.value, instrument=name.symbol)
        expected = pl.Series(expected_opens(name.venue, Interval.M1, START, END)).dt.replace_time_zone("UTC")
        assert rows["ts"].to_list() == expected.to_list(), name
    assert set(stored.filter(venue="binance")["source"]) == {"SIMULATED"}


def test_every_page_is_in_the_archive_and_matches_its_digest(backfilled: Platform) -> None:
    archive = backfilled.container().archive
    seen = set()
    for entry in archive.entries():
        day, venue, instrument, _ = entry.key.split("/")
        page = archive.load(entry)
        assert (page.venue.value, page.instrument) == (venue, instrument)
        assert START.date() <= datetime.fromisoformat(day).date() <= END.date()
        seen.add(InstrumentId(Venue(venue), instrument))
    assert seen == set(INSTRUMENTS)


def test_features_are_stored_for_every_bar(backfilled: Platform) -> None:
    store = features_of(backfilled)
    bars = bars_of(backfilled).read(INSTRUMENTS, interval=Interval.M1, columns=["venue", "instrument", "ts"])
    features = store.load_features(INSTRUMENTS, interval=Interval.M1, columns=["venue", "instrument", "ts"])
    assert features.equals(bars)


def test_the_verdict_names_rows_quality_and_features(backfilled: Platform, backfill: DagRun) -> None:
    verdict = backfilled.api.returned("data_pipeline", backfill.run_id, "check_data_health")
    assert set(verdict["rows"]) == {str(name) for name in INSTRUMENTS}
    assert verdict["severity"] in {"healthy", "warning"}
    assert verdict["features"]["set"] == "balanced-v1"


def test_an_incremental_run_right_after_changes_no_table(backfilled: Platform) -> None:
    before = bars_of(backfilled).version(), features_of(backfilled).version()
    run, _ = backfilled.trigger("data_pipeline", {})
    assert run.state == "success", backfilled.why(run)
    assert (bars_of(backfilled).version(), features_of(backfilled).version()) == before


def test_a_reprocess_reads_the_archive_and_asks_no_venue(backfilled: Platform) -> None:
    before = bars_of(backfilled).read(INSTRUMENTS, interval=Interval.M1)
    asked = len(backfilled.oanda.requests), len(backfilled.gateway.requests)
    run, _ = backfilled.trigger("data_pipeline", {"mode": "reprocess", "date": "2024-02-27"})
    assert run.state == "success", backfilled.why(run)
    assert (len(backfilled.oanda.requests), len(backfilled.gateway.requests)) == asked
    assert bars_of(backfilled).read(INSTRUMENTS, interval=Interval.M1).equals(before)


def test_a_venue_that_fails_fails_its_own_task_and_stops_no_other(backfilled: Platform) -> None:
    backfilled.gateway.misbehave_always(Fault.NO_PERMISSION)
    try:
        run, tasks = backfilled.trigger("data_pipeline", {"mode": "backfill", "start_date": "2024-02-28"})
    finally:
        backfilled.gateway.misbehave_always(None)
    assert run.state == "failed"
    states = {t.label: t.state for t in tasks["extract_market_data"]}
    assert states.pop("ibkr: 2 instruments") == "failed"
    assert set(states.values()) == {"success"}
    assert {t.state for t in tasks["commit_bars"]} == {"success"}
    assert {t.state for t in tasks["check_data_health"]} == {"failed"}
    alerts = backfilled.container().events.recent(type=EventType.ALERT)
    assert any("data_pipeline.extract_market_data" in alert.message for alert in alerts)


def test_an_instrument_that_fails_fails_the_run_and_keeps_no_other_back(backfilled: Platform) -> None:
    backfilled.gateway.misbehave(Fault.NO_PERMISSION)  # for one of its two
    run, tasks = backfilled.trigger("data_pipeline", {"mode": "backfill", "start_date": "2024-02-28"})
    assert run.state == "failed"
    (health,) = tasks.pop("check_data_health")
    assert {task.state for several in tasks.values() for task in several} == {"success"}
    failure = backfilled.api.failure(health, run.dag_id, run.run_id)
    assert re.search(r"ibkr:\w+ did not come whole: Rejected", failure)


@pytest.mark.parametrize(
    ("conf", "field"),
    [
        ({"mode": "sideways"}, "mode"),
        ({"mode": 3}, "mode"),
        ({"start_date": "yesterday"}, "start_date"),
        ({"instruments": "BTCUSDT"}, "instruments"),
    ],
)
def test_a_conf_with_wrong_types_is_refused_by_the_form(
    platform: Platform, conf: dict[str, object], field: str
) -> None:
    with pytest.raises(Rejected, match=field):
        platform.api.trigger("data_pipeline", conf)


@pytest.mark.parametrize(
    "conf",
    [
        {"mode": "backfill"},
        {"mode": "backfill", "start_date": "2024-02-20", "end_date": "2024-02-10"},
        {"mode": "backfill", "start_date": "2031-01-01"},
        {"instruments": ["NOSUCHCOIN"], "venues": ["binance"]},
    ],
    ids=["no date", "reversed dates", "future", "unknown instrument"],
)
def test_a_request_that_makes_no_sense_fails_at_once_with_one_clear_line(
    platform: Platform, conf: dict[str, object]
) -> None:
    run, tasks = platform.trigger("data_pipeline", conf)
    assert run.state == "failed"
    (plan,) = tasks["plan_ingestion"]
    assert plan.try_number == 1
    failure = platform.api.failure(plan, run.dag_id, run.run_id)
    assert "expected" in failure or "no such symbol" in failure
