"""Where time and memory go: `python -m autotrader.diagnosis.performance`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from autotrader import command
from autotrader.adapters.airflow_api import AirflowApi
from autotrader.adapters.airflow_client import airflow_of
from autotrader.config.settings import Settings
from autotrader.diagnosis.pages import Latency, latencies, read_page, services
from autotrader.diagnosis.sources import START, tables
from autotrader.domain.errors import ConfigurationError, DependencyError, ExitCode
from autotrader.domain.thresholds import READINESS

DATABASE = "database_query_duration_seconds"


@dataclass(frozen=True, slots=True)
class Load:
    """What a process and its descendants take.

    Attributes
    ----------
    cores : float
        Processor time by wall time, over the sample.
    """

    name: str
    processes: int
    cores: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class TaskTime:
    """A task of the newest run of its DAG that ended; of mapped ones the longest."""

    dag_id: str
    task_id: str
    seconds: float
    state: str


def performance(*, sample_seconds: float = 2.0, limit: int = 15, settings: Settings) -> command.Result:
    """Latencies, slow queries, processor and memory of each process, and how long tasks took.

    Exit code 3 where nothing runs.

    Parameters
    ----------
    sample_seconds : float
        Over which processor time is measured.
    limit : int
        At most so many lines of a kind.
    """
    if not 0 < sample_seconds <= 60 or limit < 1:
        raise ConfigurationError("expected 0 to 60 s and a limit of 1 or more, was something else")
    loads = measure_loads(settings, sample_seconds)
    found, silent = _latencies(settings)
    tasks = task_times(settings)
    queries = [pair for pair in found if pair[1].name == DATABASE][:limit]
    others = [pair for pair in found if pair[1].name != DATABASE][:limit]
    data = {
        "processes": loads,
        "latencies": [{"service": service, **_plain(latency)} for service, latency in others],
        "queries": [{"service": service, **_plain(latency)} for service, latency in queries],
        "tasks": tasks if isinstance(tasks, str) else tasks[:limit],
        "without_page": silent,
    }
    if not loads and not found:
        return command.Result(data, START, ExitCode.UNREACHABLE)
    lines = [f"Processes, over {sample_seconds:g} s"]
    lines += [
        f"  {load.name:<26}{load.cores:>6.2f} cores {load.memory_bytes / 2**20:>9.1f} MiB"
        f"{load.processes:>5} processes"
        for load in loads
    ]
    lines += ["", "Latencies, the slowest on average first"]
    lines += [f"  {service:<18}{_line(latency)}" for service, latency in others] or ["  none measured yet"]
    lines += ["", "Queries of the database, by operation"]
    lines += [f"  {service:<18}{_line(latency)}" for service, latency in queries] or ["  none measured yet"]
    lines += ["", "Tasks of the newest runs, the longest first"]
    if isinstance(tasks, str):
        lines.append(f"  {tasks}")
    else:
        lines += [f"  {t.seconds:>8.1f} s  {t.dag_id}.{t.task_id} ({t.state})" for t in tasks[:limit]]
    if silent:
        lines += ["", f"without a page now: {', '.join(silent)}"]
    return command.Result(data, "\n".join(lines))


def measure_loads(settings: Settings, sample_seconds: float) -> list[Load]:
    """Of the stack's processes, the busiest first."""
    families = {
        name: [root, *_children(root)] for prefix, table in tables(settings) for short in table.names()
        if (root := table.process(short)) is not None for name in (f"{prefix}{short}",)
    }  # fmt: skip
    if not families:
        return []
    before = {one: _cpu_seconds(one) for family in families.values() for one in family}
    begun = time.monotonic()
    time.sleep(sample_seconds)
    passed = time.monotonic() - begun
    loads = [
        Load(
            name,
            len(family),
            # One that has ended meanwhile takes nothing from what the others did.
            round(sum(max(_cpu_seconds(one) - before[one], 0.0) for one in family) / passed, 3),
            sum(map(_memory_bytes, family)),
        )
        for name, family in families.items()
    ]
    return sorted(loads, key=lambda load: load.cores, reverse=True)


def task_times(settings: Settings) -> list[TaskTime] | str:
    """The longest first; in words where Airflow does not tell."""
    try:
        with airflow_of(settings, timeout_seconds=READINESS.answer_seconds) as api:
            return sorted(_task_times(api), key=lambda task: task.seconds, reverse=True)
    except DependencyError as error:
        return str(error)


def _task_times(api: AirflowApi) -> Iterator[TaskTime]:
    for dag_id in sorted(api.dag_ids()):
        for run in api.runs(dag_id, states=("success", "failed"), order_by="-end_date", limit=1).runs:
            longest: dict[str, TaskTime] = {}
            for task in api.tasks(dag_id, run.run_id):
                seconds = task.duration_seconds
                known = longest.get(task.task_id)
                if seconds is not None and (known is None or seconds > known.seconds):
                    longest[task.task_id] = TaskTime(dag_id, task.task_id, seconds, str(task.state))
            yield from longest.values()


def _latencies(settings: Settings) -> tuple[list[tuple[str, Latency]], list[str]]:
    found: list[tuple[str, Latency]] = []
    silent: list[str] = []
    for service in services(settings):
        page = read_page(settings, service)
        if page.families is None:
            silent.append(service)
        else:
            measured = latencies(page.families)
            found += [(service, latency) for latency in measured if latency.name.endswith("_seconds")]
    return sorted(found, key=lambda pair: pair[1].mean, reverse=True), silent


def _plain(latency: Latency) -> dict[str, object]:
    figures = {f"p{share * 100:g}": value for share, value in latency.percentiles.items()}
    return {
        "name": latency.name,
        "labels": latency.labels,
        "count": latency.count,
        "mean": latency.mean,
        **figures,
    }


def _line(latency: Latency) -> str:
    labels = ", ".join(f"{k}={v}" for k, v in latency.labels.items())
    figures = "  ".join(
        f"p{share * 100:g} {'beyond' if value is None else f'{value * 1000:.1f} ms'}"
        for share, value in latency.percentiles.items()
    )
    return f"{latency.name}{{{labels}}}  {latency.count} times  mean {latency.mean * 1000:.1f} ms  {figures}"


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _memory_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    raise SystemExit(command.run(performance))
