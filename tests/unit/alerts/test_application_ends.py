"""What the application raises is one alert for as long as it lasts, and ends when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.alerts.routing import Routing
from autotrader.alerts.task_ends import TaskEnds
from autotrader.apps.alerts.deliver import successes_of
from autotrader.config.settings import Settings
from autotrader.db.alerts import SqlAlerts
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import Unreachable
from autotrader.domain.trading import RecoveryKind
from autotrader.domain.verdicts import Severity as Grade
from autotrader.monitoring.verdict import announce
from autotrader.pipelines.failure_steps import record_task_failure
from autotrader.ports.alerts import Alert, AlertState, ChannelName
from autotrader.ports.trading import Recovery
from autotrader.trading.recovery import event_of
from tests.fakes.airflow_history import AirflowHistory
from tests.fakes.airflow_server import serve
from tests.fakes.clocks import SettableClock
from tests.services import fresh_database
from tests.unit.monitoring.test_verdict import FINE, check, verdict

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)


class World:
    """A log, and the alerts that come of it."""

    def __init__(self, url: str) -> None:
        engine = open_database(url)
        self.clock = SettableClock(NOW)
        self.events = SqlEventLog(engine)
        self.alerts = SqlAlerts(engine, Routing(ready=(ChannelName.SLACK,)), runbooks="runbooks")

    def fail(self, dag_id: str, task_id: str = "extract", run_id: str = "r1", instances: int = 1) -> None:
        for map_index in range(instances):
            record_task_failure(
                dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, error="no answer",
                events=self.events, wall_clock=self.clock,
            )  # fmt: skip

    def look(self, succeeded: Mapping[str, datetime | None]) -> int:
        return TaskEnds(self.alerts, self.events, succeeded.__getitem__, self.clock).look()

    def recover(self, identity: str, *, agrees: bool, kind: RecoveryKind = RecoveryKind.MANUAL) -> None:
        recovery = Recovery(identity, "main", kind, self.clock.now(), 0.1, 0, (), agrees, "asked")
        self.events.record(event_of(recovery, "tests"))

    def check(self, run_key: str, grade: Grade) -> None:
        found = verdict(check("drift", "feature_drift", grade) if grade is not Grade.HEALTHY else FINE[0])
        announce(found, self.events, run_key=run_key, actor="tests", at=self.clock.now())

    def all(self) -> list[Alert]:
        self.alerts.take_up(self.clock.now())
        return list(self.alerts.list())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(fresh_database("sqlite", tmp_path))


# -------------------------------------------------------------------------------------- tasks


def test_a_task_that_fails_for_many_instruments_in_many_runs_is_one_alert(world: World) -> None:
    world.fail("data_pipeline", run_id="r1", instances=10)
    world.fail("data_pipeline", run_id="r2", instances=10)
    (alert,) = world.all()
    assert (alert.name, alert.fingerprint, alert.count) == (
        "DataPipelineFailure", "task/data_pipeline/extract", 20,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dag_id", "severity"),
    [
        ("data_pipeline", Severity.WARNING),
        ("training_pipeline", Severity.WARNING),
        ("weekly_report", Severity.WARNING),
        ("daily_summary", Severity.WARNING),
        ("backtest", Severity.WARNING),
        ("deployment_pipeline", Severity.CRITICAL),
    ],
)
def test_a_failed_task_gets_nobody_up_unless_a_deployment_failed(
    dag_id: str, severity: Severity, world: World
) -> None:
    world.fail(dag_id)
    (alert,) = world.all()
    assert alert.severity is severity


def test_a_later_run_that_succeeds_ends_the_alerts_of_its_dag_and_no_other(world: World) -> None:
    world.fail("data_pipeline")
    world.fail("data_pipeline", "validate")
    world.fail("weekly_report", "mail_report")
    world.all()
    world.clock.advance(DAY)
    assert world.look({"data_pipeline": NOW + timedelta(hours=1), "weekly_report": None}) == 2
    assert {alert.fingerprint for alert in world.all() if alert.is_live} == {"task/weekly_report/mail_report"}
    ended = next(alert for alert in world.all() if not alert.is_live)
    assert ended.reason == "data_pipeline succeeded again"
    assert world.look({"weekly_report": None}) == 0


def test_neither_a_run_before_nor_the_run_in_which_it_failed_is_a_word_that_it_is_over(world: World) -> None:
    began = world.clock.now() - timedelta(minutes=5)
    world.fail("feature_health_check")
    world.all()
    assert world.look({"feature_health_check": began}) == 0
    # It failed once more, which nobody has taken up yet.
    world.clock.advance(timedelta(hours=2))
    world.fail("feature_health_check", run_id="r3")
    assert world.look({"feature_health_check": NOW + timedelta(hours=1)}) == 1
    assert world.all()[0].is_live


def test_one_that_is_kept_back_as_a_repeat_is_ended_too(world: World) -> None:
    world.fail("weekly_report")
    world.all()
    world.clock.advance(timedelta(minutes=1))
    world.look({"weekly_report": world.clock.now()})
    world.all()
    world.fail("weekly_report", run_id="r2")
    assert [alert.state for alert in world.all() if alert.is_live] == [AlertState.SUPPRESSED]
    world.clock.advance(timedelta(minutes=1))
    world.look({"weekly_report": world.clock.now()})
    assert not any(alert.is_live for alert in world.all())


def test_while_nothing_is_open_airflow_is_not_asked(world: World) -> None:
    def asked(dag_id: str) -> datetime | None:
        raise Unreachable(dag_id)

    ends = TaskEnds(world.alerts, world.events, asked, world.clock)
    assert ends.look() == 0
    world.fail("weekly_report")
    world.all()
    with pytest.raises(Unreachable):
        ends.look()


def test_airflow_tells_when_the_newest_run_that_succeeded_began() -> None:
    airflow = AirflowHistory()
    for day, state in enumerate(("success", "success", "failed")):
        airflow.add("data_pipeline", f"r{day}", state, NOW + day * DAY)
    with serve(airflow) as url:
        succeeded = successes_of(Settings(airflow={"url": url, "password": "x"}))  # type: ignore[arg-type]
        assert succeeded("data_pipeline") == NOW + DAY - timedelta(minutes=5)
        assert succeeded("deployment_pipeline") is None


# --------------------------------------------------------------------------------- recoveries


def test_however_often_it_is_reconciled_in_vain_it_is_one_alert_which_agreement_ends(world: World) -> None:
    for number in range(3):
        world.recover(f"r{number}", agrees=False)
    (alert,) = world.all()
    assert (alert.name, alert.fingerprint, alert.severity, alert.count) == (
        "PositionMismatch", "PositionMismatch/main", Severity.CRITICAL, 3,
    )  # fmt: skip
    world.recover("r4", agrees=True)
    assert not world.all()[0].is_live


def test_a_crash_after_which_the_venue_agrees_is_told_and_ends_a_difference(world: World) -> None:
    world.recover("r1", agrees=False)
    world.recover("r2", agrees=True, kind=RecoveryKind.CRASH)
    found = {alert.name: alert.is_live for alert in world.all()}
    assert found == {"PositionMismatch": False, "Recovery": True}


# ------------------------------------------------------------------------------- health check


def test_a_model_that_is_unwell_for_a_day_is_one_alert_and_the_first_better_check_ends_it(
    world: World,
) -> None:
    for hour in range(24):
        world.check(f"h{hour}", Grade.CRITICAL)
    (alert,) = world.all()
    assert (alert.name, alert.fingerprint, alert.count) == ("ModelHealthCritical", "health/strategy", 24)
    for hour in range(3):
        world.check(f"w{hour}", Grade.WARNING)
    (alert,) = world.all()
    assert not alert.is_live
    assert "warning" in alert.reason
    assert len(world.events.recent()) == 25
    world.check("again", Grade.CRITICAL)
    assert [alert.is_live for alert in world.all()] == [True, False]
