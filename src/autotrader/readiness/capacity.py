"""Stage 10: disk, memory and processor of this machine."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

from autotrader.apps.api.checks import disk
from autotrader.apps.api.status import ComponentStatus
from autotrader.config.settings import Settings
from autotrader.domain.thresholds import ALERTS, DEPLOYMENT_CHECKS, READINESS
from autotrader.readiness.findings import Finding, failed, ok, warning


def look(*, settings: Settings) -> Iterator[Finding]:
    """Whether there is room for what the platform writes and runs."""
    for name, folder in _folders(settings):
        found = disk(folder)
        todo = f"free or add space at {folder}: `du -xsh {folder}/*` names what takes it"
        if found.status is ComponentStatus.HEALTHY:
            yield ok(f"disk of {name}", found.reason)
        elif found.status is ComponentStatus.DEGRADED:
            yield warning(f"disk of {name}", found.reason, todo)
        else:
            yield failed(f"disk of {name}", found.reason, todo)
    yield _memory()
    yield _processor()
    yield _files()


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    """One of each disk, of what is on disks here."""
    seen: set[int] = set()
    places = {"home": str(settings.home), "lake": settings.lake_uri, "backups": settings.backup_uri}
    for name, uri in places.items():
        if "://" in uri:
            continue
        folder = Path(uri).resolve()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if there.stat().st_dev not in seen:
            seen.add(there.stat().st_dev)
            yield name, there


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    share = 1 - memory.available / memory.total
    reason = f"{share:.0%} taken, {memory.available / 2**30:.1f} GiB of {memory.total / 2**30:.1f} left"
    todo = "ps -eo rss,args --sort=-rss | head: end what is not needed, or add memory"
    if memory.available < DEPLOYMENT_CHECKS.free_memory_bytes:
        return failed("memory", reason, todo)
    if share > ALERTS.memory:
        return warning("memory", reason, todo)
    return ok("memory", reason)


def _processor() -> Finding:
    load, cores = os.getloadavg()[1], os.cpu_count() or 1
    reason = f"{load:.1f} processes wait or run on {cores} cores, over 5 minutes"
    if load / cores > READINESS.load_per_core:
        return warning("processor", reason, "top -o %CPU: wait for what it does, or add cores")
    return ok("processor", reason)


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    reason = f"a process may open {soft:,}"
    if soft != resource.RLIM_INFINITY and soft < READINESS.open_files:
        return warning("open files", reason, f"ulimit -n {READINESS.open_files}, or LimitNOFILE in its unit")
    return ok("open files", reason)
