"""Which events raise alerts, whom they reach, and what is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from autotrader.alerts.mail import markdown
from autotrader.alerts.reports import alert_letter
from autotrader.alerts.routing import Routing
from autotrader.alerts.sources import TYPES, raisings
from autotrader.alerts.wording import MOST_CHARACTERS, one_line
from autotrader.db.tables import EVENTS
from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import Alert, AlertState, ChannelName, Line, Message, Telling
from autotrader.ports.events import Event, EventType

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


def event(key: str, kind: EventType, severity: str = "critical", **data: object) -> Event:
    return Event(key, kind, severity, "it broke", "tests", NOW, data=data)


def risk(account: str, cause: str) -> Event:
    key = f"risk-{account}-{cause}-halted-{NOW.isoformat()}"
    return event(key, EventType.RISK, cause=cause, state="halted")


FAILED_ROLLOUT = event("rollout/7/rolling_back", EventType.DEPLOYMENT, rollout="7", strategy="trend")


@pytest.mark.parametrize(
    ("happened", "name", "fingerprint"),
    [
        (event("task-failed/data_pipeline/r/t/-1", EventType.ALERT), "DataPipelineFailure", None),
        (event("task-failed/deployment_pipeline/r/t/-1", EventType.ALERT), "ModelDeploymentFailure", None),
        (event("task-failed/weekly_report/r/t/-1", EventType.ALERT), "PipelineTaskFailure", None),
        (event("health/autotrader-strategy/run", EventType.ALERT), "ModelHealthCritical", None),
        (event("alert/op", EventType.ALERT), "OperatorAlert", None),
        (event("alert/op", EventType.ALERT, alert="DiskSpaceLow", fingerprint="f"), "DiskSpaceLow", "f"),
        (event("alert/op", EventType.ALERT, alert="../../etc"), "OperatorAlert", None),
        (
            risk("my-acc", "drawdown"),
            "CircuitBreakerTripped",
            "CircuitBreakerTripped/my-acc",
        ),
        (
            risk("main", "database"),
            "ComponentUnhealthy",
            "TradingRestricted/main",
        ),
        (
            risk("main", "losses"),
            "TradingRestricted",
            "TradingRestricted/main",
        ),
        (
            event("discrepancies-my-acc-BRK-B", EventType.RECOVERY, account="my-acc"),
            "PositionMismatch",
            "PositionMismatch/my-acc",
        ),
        (event("recovery-1", EventType.RECOVERY), "PositionMismatch", None),
        (FAILED_ROLLOUT, "ModelDeploymentFailure", "rollout/trend"),
        (event("backup-1", EventType.BACKUP), "BackupFailed", "backup"),
    ],
)  # fmt: skip
def test_what_somebody_must_know_raises_an_alert_with_its_page(
    happened: Event, name: str, fingerprint: str | None
) -> None:
    (raising,) = raisings(happened)
    assert (raising.name, raising.fingerprint) == (name, fingerprint or happened.key)
    assert (raising.severity, raising.runbook) == (Severity.CRITICAL, f"alerts/{name}.md")


def test_an_account_that_is_active_again_ends_what_held_it() -> None:
    key = f"risk-main-drawdown-active-{NOW.isoformat()}"
    found = raisings(event(key, EventType.RISK, "info", cause="drawdown", state="active"))
    assert all(raising.resolved for raising in found)
    assert {raising.fingerprint for raising in found} == {
        "CircuitBreakerTripped/main",
        "TradingRestricted/main",
        "PositionMismatch/main",
    }


def test_a_rollout_that_is_completed_ends_the_failure_before_it_and_is_news() -> None:
    completed = event("rollout/8/completed", EventType.DEPLOYMENT, "info", rollout="8", strategy="trend")
    end, news = raisings(completed)
    assert (end.fingerprint, end.resolved) == ("rollout/trend", True)
    assert (news.name, news.severity, news.runbook) == ("DeploymentCompleted", Severity.INFO, "")


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind not in TYPES])
def test_what_happens_all_the_time_raises_none(kind: EventType) -> None:
    assert raisings(event("x", kind)) == ()


def test_the_index_of_events_is_of_the_types_that_raise() -> None:
    (index,) = [i for i in EVENTS.indexes if i.name == "ix_events_raising"]
    condition = str(index.dialect_options["sqlite"]["where"])
    assert condition == f"type IN ({', '.join(repr(kind.value) for kind in TYPES)})"
    assert isinstance(index, sa.Index)


EVERYTHING = (
    ChannelName.EMAIL, ChannelName.SLACK, ChannelName.PAGERDUTY, ChannelName.OPSGENIE, ChannelName.WEBHOOK,
)  # fmt: skip
ROUTES = {
    Severity.CRITICAL: (ChannelName.PAGERDUTY,),
    Severity.WARNING: (ChannelName.SLACK,),
    Severity.INFO: (ChannelName.EMAIL,),
}


def alert(severity: Severity, escalations: int = 0) -> Alert:
    return Alert(
        "id", "f", "Name", severity, "m", "", None, False, AlertState.OPEN, NOW, NOW, NOW, NOW,
        escalations=escalations,
    )  # fmt: skip


@given(st.sets(st.sampled_from(EVERYTHING)), st.sampled_from(Severity), st.integers(0, 3))
def test_the_log_is_always_told_and_news_wakes_nobody(
    ready: set[ChannelName], severity: Severity, escalations: int
) -> None:
    routing = Routing(tuple(ready), ROUTES, (ChannelName.SLACK, ChannelName.EMAIL))
    channels = routing.channels(alert(severity, escalations), Telling.RAISED)
    assert channels[0] is ChannelName.LOG
    assert len(channels) == len(set(channels))
    assert set(channels[1:]) <= ready
    if severity is Severity.CRITICAL and ready:
        assert len(channels) > 1
    if severity is Severity.INFO:
        assert not any(name.is_pager for name in channels)


@given(st.text(max_size=3_000))
def test_words_become_one_line_that_can_be_told_again(text: str) -> None:
    told = one_line(text)
    assert told.isprintable()
    assert len(told) <= MOST_CHARACTERS
    assert one_line(told) == told


@given(st.text(max_size=200))
def test_a_letter_takes_any_words(text: str) -> None:
    words = one_line(text) or "-"
    line = Line("id", "f", "Name", Severity.CRITICAL, AlertState.OPEN, words, words, None, 2, NOW, NOW, None)
    message = Message("k", True, Severity.CRITICAL, words, (line,), 3, 1, NOW)
    for one in (message, replace(message, firing=False), replace(message, severity=Severity.INFO)):
        letter = alert_letter(one)
        assert words in letter.text
        assert "<script" not in letter.html.lower()
        assert "|" not in markdown(text).replace("\\|", "")


def test_half_a_secret_does_not_stay_where_words_are_cut() -> None:
    assert "hunter" not in one_line("x" * (MOST_CHARACTERS - 12) + " password=hunter2")
