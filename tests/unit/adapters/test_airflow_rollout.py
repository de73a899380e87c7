"""A stage of a rollout where steps run on ECS: a step waits for the verdict, and another one after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowFailException, TaskDeferred

from autotrader.adapters import airflow_ecs, airflow_rollout
from autotrader.adapters.airflow_rollout import LOST_IN_A_ROW, RolloutStage
from autotrader.domain.errors import Unreachable

KNOWN = {"is_known": True, "outcome": "pass", "reason": "all good"}
UNKNOWN = {"is_known": False, "outcome": None, "reason": ""}
LOST = {"error": {"type": "Unreachable", "message": "AWS took the capacity back"}}


@dataclass
class Started:
    """What the task has asked for: steps that run here and now, and waiting steps on ECS."""

    here: list[str] = field(default_factory=list)
    waiting: list[tuple[str, dict[str, Any], int]] = field(default_factory=list)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    seen = Started()

    def run(name: str, **key: object) -> dict[str, object]:
        seen.here.append(name)
        return {"previous_version": "v1.0.0", "version": "v1.1.0"}

    def start_step(name: str, key: dict[str, Any], ti: object, *, turn: int, patience_seconds: float) -> str:
        seen.waiting.append((name, key, turn))
        return f"task-{turn}"

    monkeypatch.setattr(airflow_rollout, "run", run)
    monkeypatch.setattr(airflow_rollout, "run_key", lambda: "run-1")
    monkeypatch.setattr(airflow_rollout, "requester", lambda: "ann")
    monkeypatch.setattr(airflow_rollout, "conf", dict)
    monkeypatch.setattr(airflow_rollout, "steps_run_on_ecs", lambda: True)
    monkeypatch.setattr(airflow_ecs, "start_step", start_step)
    monkeypatch.setattr(airflow_ecs.StepEnded, "of", lambda task: task)
    return seen


CONTEXT = {"ti": SimpleNamespace()}


def stage(**options: Any) -> RolloutStage:
    return RolloutStage(task_id="shadow", stage="shadow", **options)


def deferred(act: Any, *words: Any, **named: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as raised:
        act(*words, **named)
    return raised.value


@pytest.mark.parametrize(
    ("begins", "asked"), [(True, "deployment.begin_rollout"), (False, "deployment.request_stage")]
)
def test_it_asks_for_the_stage_and_leaves_the_waiting_to_a_step(
    started: Started, begins: bool, asked: str
) -> None:
    gone = deferred(stage(begins=begins).execute, CONTEXT)
    assert started.here == [asked]
    ((name, key, turn),) = started.waiting
    assert (name, key["rollout"], key["stage"], turn) == ("deployment.await_verdict", "run-1", "shadow", 0)
    assert (gone.method_name, gone.kwargs) == ("conclude_on_ecs", {"turn": 0, "lost": 0})


def test_it_ends_as_the_verdict_says(started: Started) -> None:
    assert stage().conclude_on_ecs(CONTEXT, {"result": KNOWN}, turn=0, lost=0) == KNOWN
    worse = {**KNOWN, "outcome": "fail", "reason": "p99 was 300 ms"}
    with pytest.raises(AirflowFailException, match="shadow: p99 was 300 ms"):
        stage().conclude_on_ecs(CONTEXT, {"result": worse}, turn=0, lost=0)
    assert started.waiting == []


def test_without_a_verdict_the_next_step_waits_and_is_another_one(started: Started) -> None:
    gone = deferred(stage().conclude_on_ecs, CONTEXT, {"result": UNKNOWN}, turn=3, lost=2)
    assert [turn for _, _, turn in started.waiting] == [4]
    assert gone.kwargs == {"turn": 4, "lost": 0}  # it ended well: those that are lost count in a row


def test_a_waiting_step_that_is_lost_says_nothing_of_the_rollout_but_not_for_ever(started: Started) -> None:
    gone = deferred(stage().conclude_on_ecs, CONTEXT, LOST, turn=0, lost=0)
    assert gone.kwargs == {"turn": 1, "lost": 1}
    with pytest.raises(Unreachable, match="took the capacity"):
        stage().conclude_on_ecs(CONTEXT, LOST, turn=5, lost=LOST_IN_A_ROW)


def test_an_error_that_no_retry_mends_ends_the_task_for_good(started: Started) -> None:
    broken = {"error": {"type": "NotFound", "message": "expected rollout run-1, was none"}}
    with pytest.raises(AirflowFailException, match="expected rollout run-1"):
        stage().conclude_on_ecs(CONTEXT, broken, turn=0, lost=0)
    assert started.waiting == []
