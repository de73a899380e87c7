"""What the exporter makes of database, lake and reports."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy.engine import Engine

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.apps.api.status import Check, healthy
from autotrader.apps.exporter.components import Components, controller
from autotrader.apps.exporter.deployment import Deployment
from autotrader.apps.exporter.market_data import MarketData
from autotrader.apps.exporter.model_health import ModelHealth
from autotrader.apps.exporter.operations import Backups
from autotrader.apps.exporter.reading import Reading
from autotrader.apps.exporter.trading import Trading
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage
from autotrader.domain.trading import Cause, DiscrepancyKind, RecoveryKind, RunStatus, TradingState
from autotrader.features.store.store import FeatureStore
from autotrader.ports.deployment import Rollout, Slot, SlotState
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import Change, Discrepancy, Recovery, Restriction
from tests.fakes.clocks import LiveAt, SettableClock
from tests.fakes.holds import InMemoryHolds
from tests.fakes.small_market import features_of
from tests.services import fresh_database
from tests.unit.apps.api.account import BTC, TradedAccount
from tests.unit.data.frames import START, stored_bars

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
STRATEGY = "autotrader-strategy"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(fresh_database("sqlite", tmp_path))


def told(reader: Any) -> dict[tuple[str, ...], float]:
    reading = Reading()
    reader.read(reading)
    return {
        (sample.name, *(str(v) for v in sample.labels.values())): sample.value
        for family in reading.families()
        for sample in family.samples
    }


# --------------------------------------------------------------------------------- deployment


def rollout(engine: Engine, *, faulty: bool) -> None:
    records = SqlDeploymentRecords(engine, STRATEGY)
    begun = records.begin(
        Rollout(
            id=f"r-{faulty}",
            strategy_id=STRATEGY,
            version="v1.0.0",
            previous_version=None,
            candidate=Color.GREEN,
            profile="fast",
            state=RolloutState.WORKING,
            stage=Stage.CANARY,
            stage_outcome=None,
            goal=Stage.FINALIZE,
            revision=0,
            requested_by="tests",
            reason="",
            created_at=NOW,
            stage_since=NOW,
        ),
        event("begun"),
    )
    back = replace(
        begun,
        state=RolloutState.ROLLING_BACK,
        stage_outcome=Outcome.FAIL,
        stage_ended=NOW,
        reason='a person\'s "words"\nof two lines',
        is_faulty=faulty,
    )
    rolling = records.change(begun, back, event("back"))
    assert rolling
    assert records.change(
        rolling, replace(rolling, state=RolloutState.ROLLED_BACK, ended_at=NOW), event("gone")
    )


def event(key: str, type: EventType = EventType.DEPLOYMENT, **fields: Any) -> Event:
    return Event(key, type, "info", "told", "tests", **{"at": NOW, **fields})


def deployment(engine: Engine, failed_run: datetime | None = None) -> Deployment:
    return Deployment(STRATEGY, engine, SqlDeploymentRecords(engine, STRATEGY), lambda: failed_run)


def test_without_a_deployment_colours_and_stages_are_zero_and_there_was_no_failure(engine: Engine) -> None:
    found = told(deployment(engine))
    assert found["deployment_active_color", "blue"] == found["deployment_active_color", "green"] == 0
    assert found["service_expected", "prediction-blue"] == 0
    assert ("deployment_last_failure_timestamp_seconds",) not in found


def test_rollbacks_are_counted_by_a_bounded_reason(engine: Engine) -> None:
    rollout(engine, faulty=True)
    rollout(engine, faulty=False)
    found = told(deployment(engine))
    assert found["deployment_rollbacks_total", "candidate"] == 1
    assert found["deployment_rollbacks_total", "other"] == 1
    assert found["deployment_last_failure_timestamp_seconds",] == NOW.timestamp()


def test_a_run_that_failed_later_is_the_last_failure(engine: Engine) -> None:
    rollout(engine, faulty=True)
    later = NOW + timedelta(hours=1)
    found = told(deployment(engine, failed_run=later))
    assert found["deployment_last_failure_timestamp_seconds",] == later.timestamp()


def test_a_service_is_expected_where_something_is_meant_to_run(engine: Engine) -> None:
    records = SqlDeploymentRecords(engine, STRATEGY)
    slot = Slot(Color.BLUE, SlotState.FAILED, "v1.0.0", None, None, "died", NOW, "tests")
    records.set_slot(slot)
    found = told(deployment(engine))
    assert found["service_expected", "prediction-blue"] == 1
    assert found["service_expected", "prediction-green"] == 0
    records.set_slot(replace(slot, state=SlotState.STOPPING))
    assert told(deployment(engine))["service_expected", "prediction-blue"] == 0


# ------------------------------------------------------------------------------------ trading


def test_of_an_account_that_never_traded_no_mismatch_is_known_and_no_trader_expected(engine: Engine) -> None:
    found = told(Trading(SqlTradingRecords(engine), "main"))
    assert found == {("service_expected", "trader"): 0}


def test_mismatches_are_those_that_still_restrict_the_account(engine: Engine) -> None:
    records = SqlTradingRecords(engine)
    account = TradedAccount(records, now=NOW)
    found = told(Trading(records, "main"))
    assert found["service_expected", "trader"] == 1
    assert found["trading_position_mismatches", "QUANTITY_MISMATCH"] == 0
    one, two = Decimal(1), Decimal(2)
    difference = Discrepancy(DiscrepancyKind.QUANTITY_MISMATCH, BTC, one, two, Decimal(500), True, "")
    recovery = Recovery("rec", "main", RecoveryKind.CONTINUOUS, NOW, 0.1, 0, (difference,), False, "differs")
    restriction = Restriction(Cause.RECONCILIATION, TradingState.HALTED, "differs", NOW, "tests")
    account.write(Change(recoveries=(recovery,)), restrictions=(restriction,))
    assert told(Trading(records, "main"))["trading_position_mismatches", "QUANTITY_MISMATCH"] == 1
    account.write(restrictions=(), status=RunStatus.STOPPED)
    found = told(Trading(records, "main"))
    assert found["trading_position_mismatches", "QUANTITY_MISMATCH"] == 0
    assert found["service_expected", "trader"] == 0


@pytest.mark.parametrize(("cause", "is_tripped"), [(Cause.DRAWDOWN, 1), (Cause.RECONCILIATION, 0)])
def test_the_breaker_is_told_of_a_trader_that_is_down(engine: Engine, cause: Cause, is_tripped: int) -> None:
    records = SqlTradingRecords(engine)
    account = TradedAccount(records, now=NOW)
    restriction = Restriction(cause, TradingState.HALTED, "fell", NOW, "tests")
    account.write(restrictions=(restriction,), status=RunStatus.STOPPED)
    found = told(Trading(records, "main"))
    assert (found["trading_circuit_breaker_active",], found["service_expected", "trader"]) == (is_tripped, 0)


# ------------------------------------------------------------------------------------ backups


def test_the_newest_complete_backup_is_told_and_a_failed_one_is_not(engine: Engine) -> None:
    events = SqlEventLog(engine)
    assert told(Backups(events)) == {}
    events.record(event("b1", EventType.BACKUP))
    failed = Event("b2", EventType.BACKUP, "critical", "failed", "tests", NOW + timedelta(hours=1))
    events.record(failed)
    assert told(Backups(events)) == {("backup_last_success_timestamp_seconds",): NOW.timestamp()}


def test_where_there_never_was_a_backup_it_is_awaited_since_the_first_event(engine: Engine) -> None:
    events = SqlEventLog(engine)
    events.record(event("first", EventType.DATA))
    events.record(Event("b", EventType.BACKUP, "critical", "failed", "tests", NOW + timedelta(days=2)))
    assert told(Backups(events)) == {("backup_awaited_since_timestamp_seconds",): NOW.timestamp()}


def test_a_database_that_is_gone_is_an_outage(engine: Engine, tmp_path: Path) -> None:
    database = Path(str(engine.url.database))
    engine.dispose()
    database.rename(database.with_suffix(".away"))
    database.mkdir()
    with pytest.raises(Unreachable):
        told(Backups(SqlEventLog(engine)))


# ------------------------------------------------------------------------------- model health


def verdict(folder: Path, name: str, features: list[dict[str, object]]) -> None:
    (folder / name).mkdir(parents=True)
    content = {"checks": {"drift": {"figures": {"features": features}}}}
    (folder / name / "verdict.json").write_text(json.dumps(content))


def test_drift_and_missing_values_are_of_the_newest_check(tmp_path: Path) -> None:
    assert told(ModelHealth(tmp_path / "none")) == {}
    moved = {"name": "rsi_14", "psi": 0.4, "severity": "critical", "missing_share": 0.0}
    empty = {"name": "vpin", "psi": None, "severity": "healthy", "missing_share": 1.0}
    verdict(tmp_path, "newest", [moved, empty])
    found = told(ModelHealth(tmp_path))
    assert found["feature_psi", "rsi_14"] == 0.4
    assert found["feature_drift_verdict", "rsi_14"] == 2
    assert found["feature_missing_ratio", "vpin"] == 1
    assert ("feature_psi", "vpin") not in found
    assert ("feature_drift_verdict", "vpin") not in found


@pytest.mark.parametrize("content", ["{", "[]", '{"checks": {}}', '{"checks": {"drift": null}}'])
def test_a_damaged_verdict_is_told_and_not_taken_for_healthy(tmp_path: Path, content: str) -> None:
    verdict(tmp_path, "newest", [])
    (tmp_path / "newest" / "verdict.json").write_text(content)
    with pytest.raises(BadData, match="expected a verdict"):
        told(ModelHealth(tmp_path))


# -------------------------------------------------------------------------------- market data


def test_freshness_gaps_and_new_rows_are_read_from_the_lake(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, binance={"instruments": ("BTCUSDT", "ETHUSDT")})  # type: ignore[arg-type]
    lake, holds = Lake(str(tmp_path / "lake")), InMemoryHolds()
    clock = StandingMarketClock(START + timedelta(minutes=70))
    store = BarStore(lake, holds)
    store.upsert([stored_bars(minutes=60).filter(pl.col("ts").dt.minute() >= 0)], commit_key="one")
    data = MarketData(settings, lake, holds, FeatureStore(lake, clock), clock)
    found = told(data)
    assert found["bars_freshness_seconds", "binance:BTCUSDT"] == 600
    assert found["bars_missing_ratio", "binance:BTCUSDT"] == 0
    assert found["bars_quarantined_ratio", "binance:BTCUSDT"] == 0
    assert found["ingestion_rows_total", "binance"] == 0, "what was there before the exporter is not counted"
    for absent in (
        ("bars_freshness_seconds", "binance:ETHUSDT"),
        ("bars_missing_ratio", "binance:ETHUSDT"),
        ("feature_freshness_seconds", "binance:BTCUSDT"),
        ("ingestion_latency_seconds", "binance"),  # a replay's wall time says nothing
    ):
        assert absent not in found
    gap = stored_bars(minutes=70).filter(
        ~pl.col("ts").dt.minute().is_between(1, 9) | (pl.col("ts") < START + timedelta(hours=1))
    )
    store.upsert([gap], commit_key="two")
    found = told(data)
    assert found["ingestion_rows_total", "binance"] == gap.height - 60
    assert found["bars_freshness_seconds", "binance:BTCUSDT"] >= 540
    eth = stored_bars("ETHUSDT", minutes=60).filter(pl.col("ts").dt.minute() % 4 != 1)
    store.upsert([eth], commit_key="three")
    assert told(data)["bars_missing_ratio", "binance:ETHUSDT"] == pytest.approx(0.25)


def test_between_two_data_runs_features_are_old_and_not_overdue(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, binance={"instruments": ("BTCUSDT",)})  # type: ignore[arg-type]
    lake, holds = Lake(str(tmp_path / "lake")), InMemoryHolds()
    run = START.replace(hour=2) + timedelta(days=1)
    clock = LiveAt(run + timedelta(hours=10))
    rows = features_of(stored_bars(minutes=60, start=run - timedelta(hours=1)))
    FeatureStore(lake, clock).write([rows], commit_key="run")
    data = MarketData(settings, lake, holds, FeatureStore(lake, clock), clock)
    name = "binance:BTCUSDT"
    found = told(data)
    assert found["feature_freshness_seconds", name] == 10 * 3600
    assert found["feature_overdue_seconds", name] == 0
    clock.instant = run + timedelta(hours=26)
    assert told(data)["feature_overdue_seconds", name] == 24 * 3600


# --------------------------------------------------------------------------------- components


def test_a_component_that_hangs_is_unhealthy_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotrader.apps.exporter.components.TIMEOUT_SECONDS", 0.2)
    released = threading.Event()

    def hangs() -> Any:
        released.wait(120)
        return healthy("at last")

    checks = (
        Check("hangs", hangs, is_essential=True),
        Check("well", lambda: healthy("well"), is_essential=True),
    )
    components = Components(checks, SettableClock(NOW))
    is_well = []
    while is_well[-2:] != [1, 1]:  # a machine may be slower than 0.2 s
        found = told(components)
        is_well.append(found["component_health", "well"])
        assert found["component_health", "hangs"] == 0
        assert ("component_check_seconds", "hangs") not in found
        assert len(is_well) < 100
    released.set()
    deadline = time.monotonic() + 60
    while told(components)["component_health", "hangs"] != 1:
        assert time.monotonic() < deadline


def test_a_silent_controller_is_degraded_until_it_is_needed(engine: Engine) -> None:
    records = SqlDeploymentRecords(engine, STRATEGY)
    clock = SettableClock(NOW)
    assert controller(records, clock).status == "UNKNOWN"
    records.beat("controller", NOW)
    assert controller(records, clock).status == "HEALTHY"
    clock.advance(timedelta(minutes=1))
    assert controller(records, clock).status == "DEGRADED"
