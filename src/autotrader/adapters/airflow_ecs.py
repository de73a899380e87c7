"""Steps in tasks of ECS, for an Airflow whose environment holds this package without its dependencies: MWAA.

Set in Airflow's own configuration, which MWAA takes as options of the environment (`autotrader.steps`
is `AIRFLOW__AUTOTRADER__STEPS`); there is no other place that its workers, triggerer and callbacks share.

A task waits for its step in the worker, which is held as long as it would be if the step ran there:
as long as something is computed. What waits for people or for the market is deferred (`StepEnded`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict
from types import FrameType
from typing import Any

from airflow.sdk import get_current_context
from airflow.triggers.base import BaseTrigger, TriggerEvent

from autotrader.adapters.airflow_step_tasks import (
    Asker,
    Outcome,
    StartedStep,
    StepCluster,
    StepTasks,
    Watch,
    returned,
)
from autotrader.config.aws_names import AwsNames
from autotrader.domain.errors import AutotraderError, ConfigurationError, Unreachable

SECTION = "autotrader"
log = logging.getLogger(__name__)


def run_step(name: str, key: Mapping[str, Any]) -> Any:
    """Run the step in a task of its own and wait for it; `autotrader.pipelines.run_step`, elsewhere.

    The task is stopped when this one is killed or runs out of time. A worker that dies leaves it alone,
    and the next try finds it.

    Raises
    ------
    AutotraderError
        Whatever the step raises; Unreachable where AWS has no room or took it back.
    StepCrashed
        If it ended by anything else.
    """
    with _killable():
        return returned(_outcome(name, key))


def _outcome(name: str, key: Mapping[str, Any]) -> Outcome:
    tasks, poll_seconds, start_seconds = _tasks(), _poll_seconds(), _start_seconds()
    task_instance, started = get_current_context()["ti"], None
    try:
        # Without patience, a task that has no retries would fail for a minute without room.
        started = start_step(name, key, task_instance, patience_seconds=start_seconds)
        log.info("step %s runs in %s", name, tasks.page(started))
        watch = Watch(tasks, started, start_seconds=start_seconds)
        while (outcome := watch.look()) is None:
            time.sleep(poll_seconds)
    except Exception:
        raise  # AWS is silent, or we are wrong: the next try finds the step
    except BaseException as error:  # killed, or out of time, which Airflow tells in these
        with contextlib.suppress(AutotraderError):
            if started is None:  # AWS may have started it, and we not have heard of it
                started = tasks.find(name, key, asker_of(task_instance))
            if started is not None:
                tasks.stop(started, f"its Airflow task ended by {type(error).__name__}")
        raise
    return outcome


def start_step(
    name: str,
    key: Mapping[str, Any],
    task_instance: Any,
    *,
    turn: int = 0,
    patience_seconds: float = 0.0,
) -> StartedStep:
    """Start the step without waiting for its outcome.

    Parameters
    ----------
    turn : int
        Which one, where a task instance asks for the same step with the same key again and again.
    patience_seconds : float
        For room to start it.

    Raises
    ------
    AutotraderError
        As `StepTasks.start`.
    """
    asker, deadline = asker_of(task_instance), time.monotonic() + patience_seconds
    tasks, poll_seconds = _tasks(), _poll_seconds()
    while True:
        try:
            return tasks.start(name, key, asker, turn=turn)
        except Unreachable as error:
            if time.monotonic() >= deadline:
                raise
            log.warning("%s", error)
            time.sleep(poll_seconds)


class StepEnded(BaseTrigger):
    """Fires with the outcome of a step, for `returned`.

    Parameters
    ----------
    started : Mapping
        A `StartedStep`, plain.
    """

    def __init__(self, started: Mapping[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.started = dict(started)

    @classmethod
    def of(cls, started: StartedStep) -> StepEnded:
        return cls(asdict(started))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.StepEnded", {"started": self.started}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is an outcome; that AWS is silent is an outcome, too."""
        started, poll_seconds = StartedStep(**self.started), _poll_seconds()
        try:
            tasks = await asyncio.to_thread(_tasks)
            self.log.info("step %s runs in %s", started.name, tasks.page(started))
            watch = Watch(tasks, started, start_seconds=_start_seconds())
            while (outcome := await asyncio.to_thread(watch.look)) is None:
                await asyncio.sleep(poll_seconds)
        except AutotraderError as error:
            outcome = {"error": {"type": type(error).__name__, "message": str(error)}}
        yield TriggerEvent(outcome)  # type: ignore[no-untyped-call]


def asker_of(task_instance: Any) -> Asker:
    """The task instance of a context, as a step's asker."""
    ti = task_instance
    return Asker(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number)


def _tasks() -> StepTasks:
    return StepTasks(_cluster())


def _cluster() -> StepCluster:
    environment, prefix = _option("environment"), _option("prefix")
    sizes = _option("step_sizes", "{}")
    try:
        parsed = {name: (str(cpu), str(memory)) for name, (cpu, memory) in json.loads(sizes).items()}
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(
            f'{_variable("step_sizes")}: expected JSON such as {{"training.": [4096, 16384]}}, was {sizes!r}'
        ) from None
    return StepCluster(
        names=AwsNames(environment, prefix),
        subnets=_words("subnets"),
        security_groups=_words("security_groups"),
        capacity_provider=_option("capacity_provider", ""),
        sizes=parsed,
    )


def _poll_seconds() -> float:
    return _seconds("poll_seconds", 5)


def _start_seconds() -> float:
    return _seconds("start_seconds", 600)


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in _option(name).split(",") if word.strip())


def _seconds(name: str, default: float) -> float:
    text = _option(name, str(default))
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{_variable(name)}: expected seconds, was {text!r}") from None


def _option(name: str, default: str | None = None) -> str:
    from airflow.configuration import conf

    value: str | None = conf.get(SECTION, name, fallback=default)
    if value is None:
        raise ConfigurationError(f"{_variable(name)}: expected a value where steps run on ECS, was empty")
    return value


def _variable(name: str) -> str:
    return f"AIRFLOW__{SECTION.upper()}__{name.upper()}"


@contextlib.contextmanager
def _killable() -> Iterator[None]:
    """Let SIGTERM end the wait by SystemExit: Airflow's own handler only calls the operator's `on_kill`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        if callable(before):
            before(number, frame)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
