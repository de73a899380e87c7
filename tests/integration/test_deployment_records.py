"""Deployment records of processes that are killed while they change them, several at once."""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import Refused
from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage
from autotrader.ports.deployment import Rollout, Route, Slot, SlotState, StageRecord
from autotrader.ports.events import Event, EventType
from tests.killing import run_at_once
from tests.services import fresh_database

pytestmark = pytest.mark.integration

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
STRATEGY = "autotrader-strategy"
INSTRUMENTS = [f"binance:COIN{number}" for number in range(5)]
REVISIONS = 6


def _change_for_ever(url: str, killed_after_seconds: float) -> None:
    """Rollout after rollout; each change writes its mark to all that belongs to it."""
    kill = threading.Timer(killed_after_seconds, os.kill, (os.getpid(), signal.SIGKILL))
    records = SqlDeploymentRecords(open_database(url), STRATEGY)
    records.active()  # statements are compiled at first, which takes long
    kill.start()
    while True:
        stands = records.active()
        if stands is None:
            _begin(records)
        else:
            _change(records, stands)


def _begin(records: SqlDeploymentRecords) -> None:
    begun, live = datetime.now(UTC), records.live()
    rollout = Rollout(
        id=uuid.uuid4().hex,
        strategy_id=STRATEGY,
        version="v1.1.0",
        previous_version=live.version if live else None,
        candidate=live.candidate.other if live else Color.GREEN,
        profile="fast",
        state=RolloutState.WORKING,
        stage=Stage.CANARY,
        stage_outcome=None,
        goal=Stage.FINALIZE,
        revision=1,
        requested_by="test",
        reason="",
        created_at=begun,
        stage_since=begun,
    )
    try:
        records.begin(rollout, _event("begun"))
    except Refused:
        return  # another process was faster


def _change(records: SqlDeploymentRecords, stands: Rollout) -> None:
    over = stands.revision + 1 == REVISIONS
    mark = f"{stands.id}/{stands.revision + 1}"
    records.change(
        stands,
        replace(stands, state=RolloutState.COMPLETED if over else RolloutState.WORKING, reason=mark),
        _event(mark),
        routes=[Route(name, Color.GREEN, None, 0, AT + timedelta(days=1), AT, mark) for name in INSTRUMENTS],
        slots=[Slot(color, SlotState.READY, "v1.1.0", None, None, mark, AT, "test") for color in Color],
        ended=StageRecord(stands.stage, Outcome.PASS, mark, 1.0),
    )


def _event(what: str) -> Event:
    return Event(what, EventType.DEPLOYMENT, "info", what, "test", AT)


def _require_consistency(records: SqlDeploymentRecords, events: SqlEventLog) -> int:
    """Raise if rollout, routes, slots, stages and events do not agree; how many changes there were."""
    rollouts = list(reversed(records.recent(10_000)))
    assert [r.state.is_over for r in rollouts[:-1]] == [True] * (len(rollouts) - 1)
    marks = [f"{r.id}/{n}" for r in rollouts for n in range(2, r.revision + 1)]
    told = sorted(f"{r.id}/{n}" for r in rollouts for n in range(1, r.revision + 1))
    assert sorted(event.key.partition("@")[2] for event in events.recent(limit=100_000)) == told
    assert [record.reason for r in rollouts for record in records.stages(r.id)] == marks
    assert [r.reason for r in rollouts if r.revision > 1] == [
        f"{r.id}/{r.revision}" for r in rollouts if r.revision > 1
    ]
    routes, slots = records.routes(), records.slots()
    if marks:
        assert {route.changed_by for route in routes} == {marks[-1]}
        assert {slot.reason for slot in slots.values()} == {marks[-1]}
        assert [route.epoch for route in routes] == [len(marks)] * len(INSTRUMENTS)
    return len(marks)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_change_of_a_killed_process_is_whole_or_was_never_made(
    kind: str, processes: int, tmp_path: Path
) -> None:
    url = fresh_database(kind, tmp_path)
    records, events = SqlDeploymentRecords(open_database(url), STRATEGY), SqlEventLog(open_database(url))
    randomness = random.Random(20240301)
    changes = rounds = 0
    while rounds < 12 or changes <= 10:  # or nothing was under way when they were killed
        assert rounds < 100, "on a busy machine, too, somebody writes before it is killed"
        longest = min(0.3 * 2 ** (rounds // 12), 5.0)  # where 0.3 s are too short to write anything
        killed = run_at_once(processes, _change_for_ever, url, randomness.uniform(0.02, longest))
        assert killed == [True] * processes
        found = _require_consistency(records, events)
        assert found >= changes
        changes = found
        rounds += 1
