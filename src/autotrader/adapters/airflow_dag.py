"""What the DAG files share: defaults, the trigger form, where steps run, what their outcome does to a task.

Imported at parse time, so it imports nothing but Airflow's SDK and the standard library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import Param, get_current_context

from autotrader.pipelines.params import Schema

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 3.0, the newest that MWAA offers
    from airflow.exceptions import AirflowFailException, AirflowSkipException  # type: ignore[no-redef]

try:
    from airflow.sdk import CronTriggerTimetable
except ImportError:
    from airflow.timetables.trigger import CronTriggerTimetable  # type: ignore[assignment]

OWNER = "autotrader"


def cron(expression: str, *, timezone: str = "UTC") -> CronTriggerTimetable:
    """A schedule whose first run is the next one, whenever the DAG is unpaused.

    Given as a plain string, Airflow starts a run at once where the last one was due less than a
    tenth of the period ago.
    """
    return CronTriggerTimetable(expression, timezone=timezone, run_immediately=timedelta(0))


def default_args(*, retries: int, retry_delay: timedelta) -> dict[str, Any]:
    """Arguments of every task of a DAG: owner, retries, and an alert when a task has failed."""
    return {
        "owner": OWNER,
        "retries": retries,
        "retry_delay": retry_delay,
        "on_failure_callback": task_failed,
    }


def form(schema: Schema) -> dict[str, Param]:
    """The trigger form of a DAG."""
    return {name: Param(**spec) for name, spec in schema.items()}


def run(name: str, **key: Any) -> Any:
    """The body of a task: run the step; what a retry cannot mend fails at once.

    Raises
    ------
    AirflowFailException
        For errors that a person must mend.
    Unreachable
        As it is, so that Airflow retries.
    """
    with fatal_errors():
        if steps_run_on_ecs():
            from autotrader.adapters.airflow_ecs import run_step
        else:
            from autotrader.pipelines.run_step import run_step
        return run_step(name, key)


@contextlib.contextmanager
def fatal_errors() -> Iterator[None]:
    """Fail the task for good by what a retry cannot mend; Unreachable is left to Airflow's retries."""
    from autotrader.domain.errors import AutotraderError, Unreachable

    try:
        yield
    except Unreachable:
        raise
    except AutotraderError as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


def steps_run_on_ecs() -> bool:
    """Whether steps run in tasks of ECS (`ecs`), or in this process (`here`, the default).

    Raises
    ------
    ConfigurationError
        If Airflow's option `autotrader.steps` is neither.
    """
    from airflow.configuration import conf as configuration

    from autotrader.domain.errors import ConfigurationError

    where = configuration.get("autotrader", "steps", fallback="here")
    if where not in ("here", "ecs"):
        raise ConfigurationError(f"AIRFLOW__AUTOTRADER__STEPS: expected here or ecs, was {where!r}")
    return bool(where == "ecs")


def skip(reason: str) -> NoReturn:
    """End the task as skipped: an expected outcome, with its reason in the log."""
    raise AirflowSkipException(reason)


def fail(reason: str) -> NoReturn:
    """End the task as failed for good, with the reason in its log."""
    raise AirflowFailException(reason)


def conf() -> dict[str, Any]:
    """The run's parameters as validated by the trigger form's schema."""
    return dict(get_current_context()["params"])


def run_key() -> str:
    """A name for this run's files: the run id in characters that every file system takes."""
    run_id = str(get_current_context()["run_id"])
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in run_id)


def requester() -> str:
    """Who triggered the run: `airflow:<user>` where Airflow knows, else the DAG."""
    dag_run: Any = get_current_context()["dag_run"]
    user = getattr(dag_run, "triggering_user_name", None)  # Airflow 3.1 on
    return f"airflow:{user}" if user else str(dag_run.dag_id)


def run_started_at() -> str:
    """When the run began, wall time, ISO 8601."""
    dag_run: Any = get_current_context()["dag_run"]
    return str(dag_run.start_date.isoformat())


def mapped(returned: Any) -> list[Any]:
    """What the instances of a mapped task returned, as a list.

    Airflow hands over a bare value where a mapped task group had a single instance, and None where
    it had none that returned.
    """
    if returned is None:
        return []
    return [returned] if isinstance(returned, dict) else list(returned)


def label(text: str) -> None:
    """Name a mapped task instance in the UI; needs `map_index_template="{{ label }}"`."""
    context: Any = get_current_context()
    context["label"] = text


def task_failed(context: Any) -> None:
    """Record an alert for a task that has failed for good; on ECS nobody waits for that."""
    task = context["task_instance"]
    key = {
        "dag_id": task.dag_id,
        "run_id": task.run_id,
        "task_id": task.task_id,
        "map_index": task.map_index,
        "error": str(context.get("exception") or "no exception was reported"),
    }
    if steps_run_on_ecs():
        from autotrader.adapters.airflow_ecs import start_step

        start_step("alerts.task_failed", key, task)
        return
    from autotrader.pipelines.run_step import run_step

    run_step("alerts.task_failed", key)
