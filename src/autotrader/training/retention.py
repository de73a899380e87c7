"""What is kept of the training folder: the newest runs, those of live models, and what is in use.

Results are named by content and shared between runs, so no run may delete its own. Each finished
run leaves a record of the folders that it used; cleaning keeps those of the runs that count, and
whatever was made or used within the last two days, which no run under way exceeds. While a step is
at work (`in_use`) nothing is cleaned at all.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from autotrader.data.files import storage_errors
from autotrader.ports.registry import ModelStatus, ModelVersion
from autotrader.training.artifacts import content_key, exclusive, shared, stored_result, write_result

log = structlog.get_logger(__name__)

RUNS = "runs"
RESULTS = ("dataset", "search", "folds", "evaluation", "validation", "champions", "backtests")

# Beyond any run: training_pipeline's deadline is 6 hours, and it is tried twice.
GRACE = timedelta(days=2)

_LIVE = frozenset({ModelStatus.STAGING, ModelStatus.CANARY, ModelStatus.PRODUCTION})
_EXPIRED = ".expired-"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that came to its end.

    Attributes
    ----------
    run_id : str
        Of its tracking run.
    finished_at : datetime
        Wall time, UTC.
    folders : tuple of str
        Results that it used, relative to the training folder.
    """

    run_id: str
    finished_at: datetime
    folders: tuple[str, ...]


@contextlib.contextmanager
def in_use(work: Path) -> Iterator[None]:
    """Hold off cleaning of the training folder; any number of steps may at once."""
    with shared(_lock(work)):
        yield


def record_run(work: Path, run_id: str, folders: Iterable[str], *, finished_at: datetime) -> None:
    """Remember what a run used. Recorded again, it is the newer record that stands.

    Parameters
    ----------
    work : Path
        The training folder.
    run_id : str
    folders : iterable of str
        Absolute, within `work`.
    finished_at : datetime
        Wall time, UTC.
    """
    used = tuple(sorted(str(Path(folder).relative_to(work)) for folder in folders))
    folder = _record_folder(work, run_id)
    with storage_errors(f"write {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    write_result(folder, RunRecord(run_id, finished_at, used))


def live_runs(versions: Iterable[ModelVersion]) -> frozenset[str]:
    """Tracking runs of versions that serve, are being rolled out, or may be returned to."""
    return frozenset(v.run_id for v in versions if v.aliases or v.status in _LIVE)


def clean(work: Path, *, keep_runs: int, live: Collection[str], now: datetime) -> tuple[str, ...]:
    """Delete what no run needs that counts.

    Killed at any instant it leaves only whole results, and what it began the next cleaning ends.

    Parameters
    ----------
    work : Path
        The training folder.
    keep_runs : int
        Newest finished runs whose results stay.
    live : collection of str
        Runs whose results stay whatever their age.
    now : datetime
        Wall time, UTC.

    Returns
    -------
    tuple of str
        Folders that went, relative to `work`; none where a step is at work just now.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(_lock(work), wait=False))
        except BlockingIOError:
            log.info("training folder is in use, a later run cleans it")
            return ()
        with storage_errors(f"clean {work}"):
            return _clean(work, keep_runs=keep_runs, live=live, now=now)


def _clean(work: Path, *, keep_runs: int, live: Collection[str], now: datetime) -> tuple[str, ...]:
    records = [stored_result(folder, RunRecord) for folder in sorted((work / RUNS).glob("*"))]
    runs = sorted((r for r in records if r is not None), key=lambda r: r.finished_at, reverse=True)
    kept = [run for number, run in enumerate(runs) if number < keep_runs or run.run_id in live]
    needed = {folder for run in kept for folder in run.folders}
    gone = []
    for name in RESULTS:
        for left in (work / name).glob(".*"):  # of cleanings and steps that were killed: none is at work
            shutil.rmtree(left)
        for folder in sorted(f for f in (work / name).glob("*") if f.is_dir()):
            relative = f"{name}/{folder.name}"
            if relative in needed or now - _last_used(folder) < GRACE:
                continue
            expired = folder.rename(folder.with_name(f"{_EXPIRED}{folder.name}"))
            shutil.rmtree(expired)
            folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
            gone.append(relative)
    for run in runs:
        if run not in kept:
            shutil.rmtree(_record_folder(work, run.run_id))
    if gone:
        log.info("training folder cleaned", folders=len(gone), runs_kept=len(kept))
    return tuple(gone)


def _record_folder(work: Path, run_id: str) -> Path:
    """Named by a hash: whatever a tracker calls its runs, it is one path component."""
    return work / RUNS / content_key(run_id)


def _lock(work: Path) -> Path:
    return work / "in-use.lock"


def _last_used(folder: Path) -> datetime:
    """When the folder, or anything in it, was made or read."""
    newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    return datetime.fromtimestamp(newest, UTC)
