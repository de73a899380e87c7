"""What a Celery worker tells of itself, loaded by the worker: its answer to `stats` says what it uses, too.

`airflow_celery` loads it into Airflow's workers; another worker takes `--include` of this module.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psutil
from celery.worker.control import inspect_command  # type: ignore[import-untyped]

USAGE = "usage"


@inspect_command(name="stats")  # type: ignore[untyped-decorator]
def stats_and_usage(state: Any, **_: object) -> Mapping[str, object]:
    """Celery's own statistics, and what the worker and all that it started use."""
    return {**state.consumer.controller.stats(), USAGE: usage()}


def usage() -> Mapping[str, float]:
    """Memory now; processor time since it began, that of children that have ended, too; of which moment."""
    root = psutil.Process()
    memory_bytes = processor_seconds = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            memory, times = process.memory_info(), process.cpu_times()
        except psutil.NoSuchProcess:  # a task that has ended meanwhile
            continue
        memory_bytes += memory.rss
        processor_seconds += times.user + times.system + times.children_user + times.children_system
    return {"memory_bytes": memory_bytes, "processor_seconds": processor_seconds, "at": time.monotonic()}
