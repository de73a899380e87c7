"""What every store of sign-offs does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.db.approvals import SqlApprovals
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import NotFound
from autotrader.ports.approvals import Approval, ApprovalRequest, Approvals, Decision, Role, Subject
from autotrader.ports.events import Event, EventLog, EventType
from tests.fakes.approvals import InMemoryApprovals
from tests.fakes.events import InMemoryEventLog
from tests.services import fresh_database

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
REQUEST = ApprovalRequest(
    id="r1",
    subject=Subject("autotrader-strategy", "v1.2.0", "5" * 64, "6" * 64),
    round=1,
    submitters=("carol",),
    requested_at=AT,
    expires_at=AT + timedelta(hours=72),
)
LATER = replace(
    REQUEST,
    id="r2",
    subject=replace(REQUEST.subject, version="v1.3.0"),
    requested_at=AT + timedelta(hours=1),
)
APPROVAL = Approval("r1", Role.QUANT, Decision.APPROVE, "alice", "sound", AT + timedelta(minutes=5))

Store = tuple[Approvals, EventLog]


def event(key: str) -> Event:
    return Event(key, EventType.AUDIT, "info", "a sign-off", "alice", AT)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        events = InMemoryEventLog()
        return InMemoryApprovals(events), events
    engine = open_database(fresh_database(request.param, tmp_path))
    return SqlApprovals(engine), SqlEventLog(engine)


def test_requests_come_back_as_they_were_made_newest_first(store: Store) -> None:
    approvals, _ = store
    assert isinstance(approvals, Approvals)
    assert approvals.open(REQUEST, event("1"))
    assert approvals.open(LATER, event("2"))
    assert approvals.requests("autotrader-strategy") == [LATER, REQUEST]
    assert approvals.requests("autotrader-strategy", version="v1.2.0") == [REQUEST]
    assert approvals.requests("another") == []


def test_a_request_is_made_once(store: Store) -> None:
    approvals, events = store
    assert approvals.open(REQUEST, event("1"))
    assert not approvals.open(replace(REQUEST, submitters=("mallory",)), event("2"))
    assert approvals.requests("autotrader-strategy") == [REQUEST]
    assert [e.key for e in events.recent()] == ["1"]


def test_everybody_who_asked_is_remembered_once_and_in_order(store: Store) -> None:
    approvals, events = store
    approvals.open(REQUEST, event("1"))
    assert approvals.add_submitter("r1", "bob", AT, event("2"))
    assert not approvals.add_submitter("r1", "bob", AT, event("3"))
    assert not approvals.add_submitter("r1", "carol", AT, event("4"))
    assert approvals.requests("autotrader-strategy")[0].submitters == ("carol", "bob")
    assert {e.key for e in events.recent()} == {"1", "2"}


def test_decisions_come_back_in_order_and_the_same_one_is_made_once(store: Store) -> None:
    approvals, events = store
    approvals.open(REQUEST, event("1"))
    against = replace(APPROVAL, decision=Decision.REJECT, reason="after all not")
    assert approvals.add(APPROVAL, event("2"))
    assert approvals.add(against, event("3"))
    assert not approvals.add(replace(APPROVAL, reason="again"), event("4"))
    assert approvals.decisions("r1") == [APPROVAL, against]
    assert approvals.decisions("r2") == []
    assert {e.key for e in events.recent()} == {"1", "2", "3"}


def test_nothing_is_added_to_an_unknown_request(store: Store) -> None:
    approvals, events = store
    with pytest.raises(NotFound, match="'r1'"):
        approvals.add(APPROVAL, event("1"))
    with pytest.raises(NotFound, match="'r1'"):
        approvals.add_submitter("r1", "bob", AT, event("2"))
    assert events.recent() == []
