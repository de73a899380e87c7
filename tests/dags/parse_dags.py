"""Parse DAG files and print what they promise as JSON; run by the interpreter of any Airflow."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import structlog  # noqa: F401  Airflow's own dependencies do not count as ours
from airflow.sdk import DAG, Asset, Param, get_current_context, task_group  # noqa: F401

HEAVY = (
    "pandas",
    "mlflow",
    "evidently",
    "polars",
    "numpy",
    "deltalake",
    "boto3",
    "sklearn",
    "pydantic_settings",
)


def expression_of(schedule):
    """The cron expression, public in the newest Airflow and private in the oldest."""
    if schedule is None or isinstance(schedule, str):
        return schedule
    return getattr(schedule, "expression", None) or schedule._expression


def parse(path):
    already = set(sys.modules)
    begun = time.process_time()
    spec = importlib.util.spec_from_file_location(f"dag_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seconds = time.process_time() - begun
    parsed = getattr(module, path.stem)()
    assert isinstance(parsed, DAG)
    return {
        "seconds": seconds,
        "heavy": sorted(set(HEAVY) & (set(sys.modules) - already)),
        "dag_id": parsed.dag_id,
        "schedule": expression_of(parsed.schedule),
        "catchup": parsed.catchup,
        "max_active_runs": parsed.max_active_runs,
        "deadline_hours": parsed.dagrun_timeout and parsed.dagrun_timeout.total_seconds() / 3600,
        "doc": parsed.doc_md or "",
        "params": {
            name: {"schema": param.schema, "description": param.description, "value": param.value}
            for name, param in ((name, parsed.params.get_param(name)) for name in parsed.params)
        },
        "order": [task.task_id for task in parsed.topological_sort()],
        "tasks": {
            task.task_id: {
                "owner": task.owner,
                "retries": task.retries,
                "retry_minutes": task.retry_delay.total_seconds() / 60,
                "has_failure_callback": bool(task.on_failure_callback),
                "is_teardown": task.is_teardown,
                "fails_run": task.on_failure_fail_dagrun,
                "outlets": [asset.name for asset in task.outlets],
                "mapped": bool(getattr(task, "is_mapped", False))
                or task.get_closest_mapped_task_group() is not None,
            }
            for task in parsed.tasks
        },
    }


if __name__ == "__main__":
    print(json.dumps({Path(name).stem: parse(Path(name)) for name in sys.argv[1:]}))
