"""How a DAG task asks for a stage of a rollout and waits for its verdict without holding a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from autotrader.adapters.airflow_dag import (
    conf,
    fail,
    fatal_errors,
    requester,
    run,
    run_key,
    steps_run_on_ecs,
)

POLL_SECONDS = 1.0
# A step that waits for a verdict on ECS ends after so long, and the next one takes over: no task there
# outlives a platform release by days while a rollout is paused.
AWAIT_SECONDS = 6 * 3600.0
LOST_SECONDS = 600.0
LOST_IN_A_ROW = 5


class StageVerdict(BaseTrigger):
    """Fires once the verdict of a stage is recorded.

    Parameters
    ----------
    rollout, stage : str
    """

    def __init__(self, rollout: str, stage: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rollout = rollout
        self.stage = stage

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.StageVerdict", {"rollout": self.rollout, "stage": self.stage}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask every second; a database that does not answer is asked again."""
        from autotrader.domain.errors import Unreachable

        while True:
            try:
                verdict = await asyncio.to_thread(_verdict, self.rollout, self.stage)
            except Unreachable as error:
                self.log.warning("no verdict yet: %s", error)
            else:
                if verdict["is_known"]:
                    yield TriggerEvent(verdict)  # type: ignore[no-untyped-call]
                    return
            await asyncio.sleep(POLL_SECONDS)


class RolloutStage(BaseOperator):
    """Asks for a stage of this run's rollout, defers until its verdict is known, and ends like it.

    Parameters
    ----------
    stage : str
        As in `autotrader.domain.rollout.Stage`.
    begins : bool
        Whether the rollout begins with this stage.
    """

    ui_color = "#e8f0fe"

    def __init__(self, *, stage: str, begins: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.stage = stage
        self.begins = begins

    def execute(self, context: Any) -> dict[str, Any]:
        rollout = run_key()
        if self.begins:
            begun = run("deployment.begin_rollout", run_key=rollout, requested_by=requester(), **conf())
            self.log.info("%s -> %s", begun["previous_version"], begun["version"])
        else:
            run("deployment.request_stage", rollout=rollout, stage=self.stage)
        if steps_run_on_ecs():
            self._await_on_ecs(context, turn=0)
        verdict = run("deployment.stage_verdict", rollout=rollout, stage=self.stage)
        if not verdict["is_known"]:
            self.defer(trigger=StageVerdict(rollout, self.stage), method_name="conclude")
        return self.conclude(context, verdict)

    def _await_on_ecs(self, context: Any, *, turn: int, lost: int = 0) -> NoReturn:
        from autotrader.adapters.airflow_ecs import StepEnded, start_step

        key = {"rollout": run_key(), "stage": self.stage, "seconds": AWAIT_SECONDS}
        with fatal_errors():
            started = start_step(
                "deployment.await_verdict", key, context["ti"], turn=turn, patience_seconds=LOST_SECONDS
            )
        self.defer(
            trigger=StepEnded.of(started),
            method_name="conclude_on_ecs",
            kwargs={"turn": turn, "lost": lost},
        )

    def conclude_on_ecs(self, context: Any, event: dict[str, Any], turn: int, lost: int) -> dict[str, Any]:
        """As `conclude`, with the outcome of the step that waited; without a verdict, wait on.

        A waiting step that AWS took away says nothing about the rollout, which the controller goes on
        to supervise.
        """
        from autotrader.adapters.airflow_step_tasks import returned
        from autotrader.domain.errors import Unreachable

        try:
            with fatal_errors():
                verdict = returned(event)
        except Unreachable as error:
            if lost >= LOST_IN_A_ROW:
                raise
            self.log.warning("%s: another one waits now", error)
            self._await_on_ecs(context, turn=turn + 1, lost=lost + 1)
        if not verdict["is_known"]:
            self._await_on_ecs(context, turn=turn + 1)
        return self.conclude(context, verdict)

    def conclude(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's
        """Return the verdict of a stage that passed.

        Raises
        ------
        AirflowFailException
            With the reason in plain words, if traffic was taken back.
        """
        if event["outcome"] != "pass":
            fail(f"{self.stage}: {event['reason']}")
        self.log.info("%s passed: %s", self.stage, event["reason"])
        return event


def _verdict(rollout: str, stage: str) -> dict[str, Any]:
    from autotrader.pipelines.run_step import run_step

    verdict: dict[str, Any] = run_step("deployment.stage_verdict", {"rollout": rollout, "stage": stage})
    return verdict
