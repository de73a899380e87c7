"""The production check on a small real platform: it is well, then one thing breaks at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from autotrader.access.authentication import issue
from autotrader.adapters.objects import open_objects
from autotrader.config.settings import load_settings
from autotrader.continuity import sets
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.db.tables import METADATA
from autotrader.db.tokens import SqlTokens
from autotrader.domain.instruments import Venue
from autotrader.domain.rollout import FAST, Stage
from autotrader.domain.thresholds import READINESS
from autotrader.ports.events import Event, EventType
from autotrader.ports.market_data import ConnectionReport
from autotrader.ports.registry import Alias
from autotrader.ports.tokens import Scope as TokenScope
from autotrader.readiness import venues
from autotrader.readiness.findings import Finding, State
from autotrader.readiness.stages import STAGES, StageName, run
from tests.fakes.airflow_parts import DAGS, Airflow
from tests.fakes.airflow_server import serve as serve_airflow
from tests.fakes.holds import InMemoryHolds
from tests.scripts.platform import STRATEGY, Platform, platform, run_script
from tests.services import free_port
from tests.unit.data.frames import START, stored_bars

pytestmark = pytest.mark.component

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCRIPT = "production-check.sh"
PATIENCE_SECONDS = 120  # with one stage: on a busy machine what it imports alone takes long
PATIENTLY = ("--patience", str(PATIENCE_SECONDS))


@pytest.fixture
def stage(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with platform(home, {"AUTOTRADER_BINANCE__INSTRUMENTS": "BTCUSDT"}, monkeypatch) as made:
        yield made


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    made = Airflow()
    with serve_airflow(made) as url:
        monkeypatch.setenv("AUTOTRADER_AIRFLOW__URL", url)
        monkeypatch.setenv("AUTOTRADER_AIRFLOW__PASSWORD", "kV7q-2mZp-9RtX-w4Lc")
        yield made


def look(name: StageName) -> dict[str, Finding]:
    """Findings of a stage, by subject."""
    (wanted,) = (each for each in STAGES if each.name is name)
    report = run(wanted, load_settings(), patience_seconds=PATIENCE_SECONDS)
    return {finding.subject: finding for finding in report.findings}


def states(found: dict[str, Finding]) -> dict[str, str]:
    return {subject: finding.state.value for subject, finding in found.items()}


# ----------------------------------------------------------------------------- registry, deployment


def test_a_registry_that_is_well_has_its_champions_file_a_way_back_and_aliases_that_agree(
    stage: Platform,
) -> None:
    found = look(StageName.REGISTRY)
    assert set(states(found).values()) == {"ok"}, found
    assert "v1.1.0" in found["digest of the champion"].reason
    assert "v1.0.0" in found["way back"].reason


def test_a_changed_file_of_the_champion_fails_with_both_digests(stage: Platform) -> None:
    for name in stage.mlflow.artifacts:
        if name.endswith("model.onnx"):
            stage.mlflow.artifacts[name] += b"\0"
    found = look(StageName.REGISTRY)["digest of the champion"]
    assert found.state is State.FAILED
    assert "with SHA-256" in found.reason
    assert "emergency-rollback" in found.todo


def test_an_alias_that_was_moved_by_hand_fails(stage: Platform) -> None:
    stage.registry.set_alias(STRATEGY, Alias.CHAMPION, "v1.0.0", reason="a mistake", actor="somebody")
    found = look(StageName.REGISTRY)
    assert found["aliases"].state is State.FAILED
    assert "v1.1.0" in found["aliases"].reason
    assert "check_agreement" in found["aliases"].todo


def test_a_registry_that_is_away_fails_once_and_quickly(
    stage: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_MLFLOW__TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    begun = time.monotonic()
    assert states(look(StageName.REGISTRY)) == {"MLflow": "failed"}
    assert time.monotonic() - begun < READINESS.stage_seconds


def test_a_deployment_that_is_well_names_what_is_live_and_needs_no_trader_in_development(
    stage: Platform,
) -> None:
    with stage.controller():
        found = look(StageName.DEPLOYMENT)
    assert found["live version"].reason.startswith("v1.1.0 on green")
    assert states(found) == {
        "live version": "ok",
        "rollout": "not applicable",
        "traffic": "ok",
        "trader": "not applicable",
        "broker": "not applicable",
        "feed": "not applicable",
        "controller": found["controller"].state.value,  # a thread of the test, which tells no heartbeat
        "prediction-blue": "ok",
        "prediction-green": "ok",
    }


def test_a_service_that_died_fails(stage: Platform) -> None:
    color = stage.live()[1]
    stage.target.stop(color)
    found = look(StageName.DEPLOYMENT)
    assert found[f"prediction-{color.value}"].state is State.FAILED
    assert found["traffic"].state is State.FAILED


def test_a_rollout_that_stands_still_is_stuck_after_twice_its_time(stage: Platform) -> None:
    stage.begin("v1.2.0", FAST, Stage.SHADOW)
    assert look(StageName.DEPLOYMENT)["rollout"].state is State.OK
    (table,) = (t for t in METADATA.sorted_tables if t.name.endswith("rollouts"))
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    with stage.registry._engine.begin() as connection:
        connection.execute(sa.update(table).where(table.c.version == "v1.2.0").values(stage_since=long_ago))
    found = look(StageName.DEPLOYMENT)["rollout"]
    assert found.state is State.FAILED
    assert "for 3.0 h, expected at most 0.2 h: it is stuck" in found.reason


# ----------------------------------------------------------------------------- Airflow


def test_an_airflow_that_is_well(airflow: Airflow) -> None:
    airflow.add("data_pipeline", "r1", "success", NOON)
    found = look(StageName.AIRFLOW)
    assert set(states(found).values()) == {"ok"}, found
    assert found["DAGs"].reason == f"all {len(DAGS)} of dags are known"


def test_a_dead_scheduler_fails_by_name(airflow: Airflow) -> None:
    airflow.dead.add("scheduler")
    found = look(StageName.AIRFLOW)["Airflow"]
    assert (found.state, "scheduler unhealthy" in found.reason) == (State.FAILED, True)


def test_a_dag_file_that_does_not_parse_and_a_dag_that_is_missing_fail(airflow: Airflow) -> None:
    airflow.broken["data_pipeline.py"] = "SyntaxError: invalid syntax"
    airflow.dags = DAGS[1:]
    found = look(StageName.AIRFLOW)
    assert "data_pipeline.py: SyntaxError" in found["DAG files"].reason
    assert found["DAG files"].state is found["DAGs"].state is State.FAILED
    assert DAGS[0] in found["DAGs"].reason


def test_a_paused_dag_is_a_warning_in_development(airflow: Airflow) -> None:
    airflow.paused.add("training_pipeline")
    found = look(StageName.AIRFLOW)["paused DAGs"]
    assert (found.state, "training_pipeline" in found.reason) == (State.WARNING, True)


@pytest.mark.parametrize(("failures", "state"), [(1, State.WARNING), (2, State.WARNING), (3, State.FAILED)])
def test_failures_in_a_row_are_counted(airflow: Airflow, failures: int, state: State) -> None:
    airflow.add("data_pipeline", "good", "success", NOON)
    for n in range(failures):
        airflow.add("data_pipeline", f"bad{n}", "failed", NOON + timedelta(hours=n + 1))
    found = look(StageName.AIRFLOW)["runs"]
    assert (found.state, f"{failures} runs of data_pipeline" in found.reason) == (state, True)


def test_an_airflow_that_is_away_or_was_never_started_fails(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.down = True
    assert set(states(look(StageName.AIRFLOW)).values()) == {"failed"}
    monkeypatch.delenv("AUTOTRADER_AIRFLOW__URL")
    assert "make quickstart" in look(StageName.AIRFLOW)["Airflow"].reason


# ----------------------------------------------------------------------------- lake


def test_a_missing_table_and_late_bars_fail_and_current_ones_do_not(
    stage: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = look(StageName.LAKE)
    assert empty["bars"].state is State.FAILED
    assert "0 pages" in empty["archive"].reason
    bars = BarStore(Lake(load_settings().lake_uri), InMemoryHolds())
    bars.upsert([stored_bars(minutes=60)], commit_key="test")
    monkeypatch.setenv("AUTOTRADER_CLOCK__MARKET_TIME", (START + timedelta(minutes=61)).isoformat())
    found = look(StageName.LAKE)
    assert (found["bars"].state, found["bars"].reason.startswith("60 rows")) == (State.OK, True)
    assert found["age of bars"].state is State.OK
    for hours, state in ((2.2, State.WARNING), (30, State.FAILED)):
        at = START + timedelta(hours=hours)
        monkeypatch.setenv("AUTOTRADER_CLOCK__MARKET_TIME", at.isoformat())
        late = look(StageName.LAKE)["age of bars"]
        assert (late.state, "minutes behind the market" in late.reason) == (state, True), late


# ----------------------------------------------------------------------------- venues


class Venues:
    """A venue as its connector reports it."""

    def __init__(self, report: ConnectionReport) -> None:
        self.report = report

    def __call__(self, _: Venue) -> Venues:
        return self

    async def test_connection(self) -> ConnectionReport:
        return self.report

    async def aclose(self) -> None:
        """Nothing was opened."""


@pytest.mark.parametrize(
    ("skew_ms", "state"), [(20.0, State.OK), (-700.0, State.WARNING), (1500.0, State.FAILED)]
)
def test_the_clock_of_a_venue_is_compared_with_ours(skew_ms: float, state: State) -> None:
    report = ConnectionReport(Venue.BINANCE, True, "answers", 12.0, NOON, skew_ms)
    found = {
        f.subject: f
        for f in venues.look(settings=load_settings(), sources=Venues(report), checks=list)  # type: ignore[arg-type]
    }
    assert found["binance"].state is State.OK
    assert found["clock of binance"].state is state
    assert f"{abs(skew_ms) / 1000:.2f} s off" in found["clock of binance"].reason


def test_a_venue_that_is_away_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_BINANCE__REST_URL", f"http://127.0.0.1:{free_port()}")
    found = look(StageName.VENUES)
    assert states(found) == {"binance": "failed", "broker": "not applicable"}
    assert "test_connection" in found["binance"].todo


def test_a_broker_without_its_key_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_BINANCE__REST_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AUTOTRADER_TRADING__BROKER", "binance")
    assert look(StageName.VENUES)["broker"].state is State.FAILED


# ----------------------------------------------------------------------------- monitoring


def test_without_alertmanager_and_pager_the_route_of_critical_alerts_fails(
    stage: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PROMETHEUS", "ALERTMANAGER"):
        monkeypatch.setenv(f"AUTOTRADER_MONITORING__{name}_PORT", str(free_port()))
    found = look(StageName.MONITORING)
    for subject in ("Prometheus", "Alertmanager", "configuration", "route of critical alerts", "delivery"):
        assert found[subject].state is State.FAILED, subject
    assert "AUTOTRADER_ALERTS__PAGERDUTY_KEY" in found["route of critical alerts"].todo
    assert found["route of our own alerts"].state is State.FAILED
    assert found["messages given up"].reason == "0"
    monkeypatch.setenv("AUTOTRADER_ALERTS__PAGERDUTY_KEY", "kV7q2mZp9RtXw4Lc")
    secrets = stage.home / "monitoring" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "pagerduty-routing-key").write_text("kV7q2mZp9RtXw4Lc")
    found = look(StageName.MONITORING)
    assert found["route of our own alerts"].state is State.OK
    assert found["route of critical alerts"].state is State.OK


def test_a_token_of_alertmanager_that_ends_soon_is_told(
    stage: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_MONITORING__ALERTMANAGER_PORT", str(free_port()))
    now = datetime.now(UTC)
    text, stored = issue("alertmanager", [TokenScope.OPERATE], [], days=10, actor="test", now=now)
    made = Event("made", EventType.AUDIT, "info", "made", "test", now)
    assert SqlTokens(stage.registry._engine).add(stored, made)
    file = stage.home / "monitoring" / "secrets" / "platform-token"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    found = look(StageName.MONITORING)["token of Alertmanager"]
    assert (found.state, found.todo) == (State.WARNING, "scripts/setup-monitoring.sh")


def test_a_database_that_is_away_hides_alerts_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_DATABASE__URL", f"postgresql://u:x@127.0.0.1:{free_port()}/d")
    found = look(StageName.MONITORING)
    assert "not looked at without it" in found["database"].reason
    assert "Prometheus" in found


# ----------------------------------------------------------------------------- backups, capacity


def make_backup(hours_ago: float, name: str) -> None:
    settings = load_settings()
    store = open_objects(settings.backup_uri, settings.aws)
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    assert sets.begin(store, name, by="test", at=at)
    sets.complete(store, sets.BackupSet(name, "dev", "test", at, at, at, (), (), ()))


def test_backups_older_than_26_hours_fail_and_a_newer_one_mends_it(home: Path) -> None:
    home.mkdir()
    assert "0 complete sets" in look(StageName.BACKUPS)["newest set"].reason
    make_backup(26.5, "20260101T000000Z")
    found = look(StageName.BACKUPS)
    assert states(found) == {"newest set": "failed", "sets": "warning"}
    assert found["newest set"].reason.startswith("26.5 h old, expected at most 26 h")
    make_backup(25.5, "20260102T000000Z")
    assert states(look(StageName.BACKUPS)) == {"newest set": "ok", "sets": "ok"}


def test_a_damaged_set_fails(home: Path) -> None:
    home.mkdir()
    make_backup(1, "20260101T000000Z")
    files = [path for path in Path(load_settings().backup_uri).rglob("*") if path.is_file()]
    (manifest,) = (path for path in files if b"sha256" in path.read_bytes())
    manifest.write_text(manifest.read_text().replace('"by": "test"', '"by": "else"'))
    found = look(StageName.BACKUPS)
    assert found["sets"].state is State.FAILED
    assert "20260101T000000Z" in found["sets"].reason


@dataclass
class Usage:
    total: int
    free: int


@pytest.mark.parametrize(
    ("share", "state"), [(0.20, State.OK), (0.14, State.WARNING), (0.0005, State.FAILED)]
)
def test_a_disk_warns_below_15_percent_and_fails_without_room_for_the_log(
    monkeypatch: pytest.MonkeyPatch, share: float, state: State
) -> None:
    monkeypatch.setattr(psutil, "disk_usage", lambda _: Usage(10**12, int(share * 10**12)))
    found = look(StageName.CAPACITY)["disk of home"]
    assert (found.state, f"{share:.0%} of the disk is free" in found.reason) == (state, True)


@dataclass
class Memory:
    total: int
    available: int


@pytest.mark.parametrize(
    ("available", "state"),
    [(8 * 2**30, State.OK), (2 * 2**30, State.WARNING), (2**28, State.FAILED)],
)
def test_memory_that_runs_out_is_told(monkeypatch: pytest.MonkeyPatch, available: int, state: State) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(16 * 2**30, available))
    found = look(StageName.CAPACITY)["memory"]
    assert (found.state, "GiB of 16.0 left" in found.reason) == (state, True)


# ----------------------------------------------------------------------------- as a process


def test_the_script_shows_a_table_and_what_to_do_and_fails(stage: Platform, airflow: Airflow) -> None:
    airflow.dead.add("scheduler")
    shown = run_script(SCRIPT, "--only", "registry,airflow", *PATIENTLY)
    assert shown.returncode == 1, shown.stderr
    assert "registry                    ok" in shown.stdout
    assert "Airflow                     FAILED" in shown.stdout
    assert "make status; make restart" in shown.stdout
    assert "2 stages: 1 failed, 0 warning, 1 ok, 0 not applicable" in shown.stdout


def test_the_script_tells_programs_in_json_and_is_done_if_nothing_failed(stage: Platform) -> None:
    shown = run_script(SCRIPT, "--json", "--only", "registry", *PATIENTLY)
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert told["verdict"] == "ok"
    (only,) = told["stages"]
    assert (only["name"], {f["state"] for f in only["findings"]}) == ("registry", {"ok"})


@pytest.mark.parametrize("words", [("--only", "everything"), ("--patience", "soon"), ("now",), ("--force",)])
def test_bad_usage_is_told_with_exit_code_2(words: tuple[str, ...]) -> None:
    assert run_script(SCRIPT, *words).returncode == 2


def test_its_help_is_its_header_and_names_every_stage() -> None:
    shown = run_script(SCRIPT, "--help")
    assert shown.returncode == 0
    assert all(name.value in shown.stdout for name in StageName)


def test_a_wrong_setting_is_told_with_its_name_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_API__PORT", "hunter2")
    shown = run_script(SCRIPT)
    assert shown.returncode == 2
    assert "AUTOTRADER_API__PORT" in shown.stderr
    assert "hunter2" not in shown.stdout + shown.stderr


def test_nothing_is_changed_by_looking(home: Path) -> None:
    run_script(SCRIPT, environment={"AUTOTRADER_BINANCE__REST_URL": f"http://127.0.0.1:{free_port()}"})
    assert not home.exists()
