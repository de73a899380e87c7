"""The sections of a full report, each read where the platform itself keeps it."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from autotrader import __version__, command
from autotrader.adapters.airflow_client import airflow_of
from autotrader.alerts.list_alerts import list_alerts
from autotrader.config.settings import Settings
from autotrader.db.engine import connect, reading
from autotrader.deployment.get_status import get_status
from autotrader.diagnosis.errors import errors
from autotrader.diagnosis.logs import LevelName, logs
from autotrader.diagnosis.metrics import Subject, metrics
from autotrader.diagnosis.performance import performance
from autotrader.diagnosis.sources import START, tables
from autotrader.domain.errors import Unreachable
from autotrader.domain.thresholds import READINESS
from autotrader.readiness import database
from autotrader.readiness.check import check

Section = Callable[[Settings], str]

_UNFINISHED, _ENDED = ("queued", "running"), ("success", "failed")


def versions(_: Settings) -> str:
    """Of this package, of what it runs on, and of all that is installed."""
    found = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions() if d.metadata["Name"]})
    heading = [
        f"autotrader {__version__}",
        f"Python {sys.version.split()[0]}",
        f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores",
        f"{datetime.now(UTC):%F %T} UTC",
    ]
    return "\n".join([*heading, "", *found])


def settings_in_force(settings: Settings) -> str:
    """All of them; which of them were set, and where. A secret is ten asterisks."""
    named = sorted(name for name in os.environ if name.startswith(("AUTOTRADER_", "AIRFLOW__")))
    values = json.dumps(settings.model_dump(mode="json"), indent=2)
    return f"{values}\n\nset in the environment: {', '.join(named) or 'nothing'}"


def processes(settings: Settings) -> str:
    """What was started, whether it runs, and where it listens."""
    lines = []
    for prefix, table in tables(settings):
        for name in table.names():
            process = table.process(name)
            if process is None:
                lines.append(f"{prefix}{name:<24} DIED; its log ends:\n{table.tail(name)}")
                continue
            started = datetime.fromtimestamp(process.create_time(), UTC)
            lines.append(
                f"{prefix}{name:<24} pid {process.pid}, since {started:%F %T} UTC, "
                f"{len(process.children(recursive=True))} children, listens on {_ports(process)}"
            )
    return "\n".join(lines) or START


def disk(settings: Settings) -> str:
    """What takes room in the home, and what is left."""
    home = settings.home.resolve()
    if not home.is_dir():
        return START
    usage = psutil.disk_usage(str(home))
    sizes = sorted(((_size(path), path.name) for path in home.iterdir()), reverse=True)
    lines = [f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free at {home}"]
    return "\n".join([*lines, *(f"{size / 2**20:>12.1f} MiB  {name}" for size, name in sizes)])


def databases(settings: Settings) -> str:
    """Size and rows of each table."""
    lines = []
    for report in database.reports_of(settings):
        lines.append(f"{report.name}: {report.url}: {report.state}")
        if report.revision is not None:
            url = settings.database_url if report.name == "database" else settings.ledger_url
            lines += [f"  {line}" for line in _tables(url)]
    return "\n".join(lines)


def pipelines(settings: Settings) -> str:
    """DAGs, their newest runs, and what waits."""
    with airflow_of(settings, timeout_seconds=READINESS.answer_seconds) as api:
        lines = [f"{name}: {state}" for name, state in api.health().items()]
        lines += [f"waiting in {queue}: {count}" for queue, count in api.waiting_tasks().items()]
        lines += [f"import error in {file}: {error}" for file, error in api.import_errors().items()]
        for name, is_paused in sorted(api.paused().items()):
            lines.append(f"{name}{' (paused)' if is_paused else ''}")
            for states, order in ((_UNFINISHED, "id"), (_ENDED, "-end_date")):
                for run in api.runs(name, states=states, order_by=order, limit=5).runs:
                    times = [f"{at:%F %T}" if at else "-" for at in (run.start, run.end)]
                    lines.append(f"  {run.state:<10}{times[0]} to {times[1]}  {run.run_id}")
    return "\n".join(lines)


def of_verb(verb: Callable[..., Any], **values: Any) -> Section:
    """What a command of ours shows."""

    def section(_: Settings) -> str:
        with command.bound(verb, values) as call:
            result = call()
        return result.text if isinstance(result, command.Result) else str(result)

    return section


def inside(section: Section) -> Section:
    """A section that opens our database, which would create or migrate it: it is asked first."""

    def guarded(settings: Settings) -> str:
        trouble = database.trouble(settings)
        if trouble is not None:
            raise Unreachable(trouble.reason)
        return section(settings)

    return guarded


# File of the report to what is in it; the most telling first.
SECTIONS: Mapping[str, Section] = {
    "versions.txt": versions,
    "settings.json.txt": settings_in_force,
    "health.txt": of_verb(check, details=True, patience_seconds=10.0),
    "processes.txt": processes,
    "errors.txt": of_verb(errors),
    "alerts.txt": inside(of_verb(list_alerts)),
    "deployment.txt": inside(of_verb(get_status)),
    "pipelines.txt": pipelines,
    "performance.txt": of_verb(performance),
    "metrics.txt": of_verb(metrics, subject=Subject.ALL),
    "disk.txt": disk,
    "databases.txt": databases,
    "logs.txt": of_verb(logs, level=LevelName.WARNING, since="24h", lines=1_000),
}


def _ports(process: psutil.Process) -> str:
    found = set()
    for one in (process, *process.children(recursive=True)):
        try:
            found |= {f"{c.laddr.ip}:{c.laddr.port}" for c in one.net_connections() if c.status == "LISTEN"}
        except psutil.Error:
            continue
    return ", ".join(sorted(found)) or "nothing"


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(_sizes(path))


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - of very many
            except FileNotFoundError:  # a temporary one that is gone
                continue


def _tables(url: str) -> Iterator[str]:
    engine = connect(url)
    try:
        if engine.dialect.name == "postgresql":
            query = "SELECT relname, pg_total_relation_size(relid), n_live_tup FROM pg_stat_user_tables"
            with reading(engine) as connection:
                rows = connection.execute(sa.text(f"{query} ORDER BY 2 DESC")).all()
            yield from (f"{size / 2**20:>10.1f} MiB {count:>12,} rows  {name}" for name, size, count in rows)
            return
        with reading(engine) as connection:
            pages = connection.scalar(sa.text("PRAGMA page_count")) or 0
            size = pages * (connection.scalar(sa.text("PRAGMA page_size")) or 0)
            yield f"{size / 2**20:.1f} MiB"
            for name in sorted(sa.inspect(connection).get_table_names()):
                count = connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name)))
                yield f"{count:>12,} rows  {name}"
    finally:
        engine.dispose()
