"""What is kept of the training folder: the newest runs, those of live models, and what is in use.

Results are named by content and shared between runs, so no run may delete its own. Each finished
run leaves a record of the folders that it used; cleaning keeps those of the runs that count, and
whatever was made or used within the last two days, which no run under way exceeds. While a step is
at work (`in_use`) nothing is cleaned at all; where steps work on several machines, it is their marks
of use that say so.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from autotrader.command import to_plain
from autotrader.data import pins
from autotrader.data.lake import Lake
from autotrader.data.places import ObjectPath, delete_folder, folders_in, local_path, write_whole
from autotrader.files import storage_errors
from autotrader.plain import from_plain
from autotrader.ports.places import Place
from autotrader.ports.registry import ModelStatus, ModelVersion
from autotrader.training.artifacts import content_key, exclusive, shared
from autotrader.training.results import LIST_FILE, RESULT_FILE, Results

log = structlog.get_logger(__name__)

RUNS = "runs"
DATASETS = "dataset"
RESULTS = (DATASETS, "trials", "search", "folds", "evaluation", "validation", "champions", "backtests")

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
        Names of the results that it used.
    """

    run_id: str
    finished_at: datetime
    folders: tuple[str, ...]


@contextlib.contextmanager
def in_use(results: Results) -> Iterator[None]:
    """Hold off cleaning of the training folder; any number of steps may at once."""
    with shared(_lock(results.folder)):
        yield


def record_run(results: Results, run_id: str, names: Iterable[str], *, finished_at: datetime) -> None:
    """Remember what a run used. Recorded again, it is the newer record that stands.

    Parameters
    ----------
    results : Results
    run_id : str
    names : iterable of str
        Of results.
    finished_at : datetime
        Wall time, UTC.
    """
    record = RunRecord(run_id, finished_at, tuple(sorted(names)))
    content = json.dumps(to_plain(record), indent=1).encode()
    write_whole(_record(results.place, run_id) / RESULT_FILE, content)


def _is_live(version: ModelVersion) -> bool:
    return bool(version.aliases) or version.status in _LIVE


def live_runs(versions: Iterable[ModelVersion]) -> frozenset[str]:
    """Tracking runs of versions that serve, are being rolled out, or may be returned to."""
    return frozenset(v.run_id for v in versions if _is_live(v))


def pin_owner(key: str) -> str:
    """For whom the table versions are pinned that a training set was read from."""
    return f"training-{key}"


def release_pins(lake: Lake, versions: Iterable[ModelVersion], key: str) -> None:
    """Leave to vacuum what only that training set needed of the lake.

    Parameters
    ----------
    lake : Lake
    versions : iterable of ModelVersion
        A table version that a live one of these names stays pinned, by another owner if there is one.
    key : str
        Of the training set.
    """
    named = [json.loads(v.tags.get("data_versions", "{}")) for v in versions if _is_live(v)]
    for table in lake.names():
        kind = table if table == "bars" else "features"
        needed = {one.get(kind) for one in named}
        for version, owners in pins.pinned(lake.root / table).items():
            if pin_owner(key) in owners and (version not in needed or len(owners) > 1):
                pins.unpin(lake.root / table, pin_owner(key))


def clean(
    results: Results,
    *,
    keep_runs: int,
    live: Collection[str],
    now: datetime,
    forget: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Delete what no run needs that counts.

    Killed at any instant it leaves only whole results, and what it began the next cleaning ends.

    Parameters
    ----------
    results : Results
    keep_runs : int
        Newest finished runs whose results stay.
    live : collection of str
        Runs whose results stay whatever their age.
    now : datetime
        Wall time, UTC.
    forget : callable
        Told the key of each training set that goes, when nobody finds it any more; told again where
        its deletion was cut off.

    Returns
    -------
    tuple of str
        Names of results that went; none where a step is at work on this machine just now.
    """
    with _cleaning(results.folder) as is_free:
        if not is_free:
            return ()
        gone = _clean(results.place, keep_runs=keep_runs, live=live, now=now, forget=forget)
    if results.is_shared:
        clean_copies(results, now=now)
    return gone


def clean_copies(results: Results, *, now: datetime) -> None:
    """Delete this machine's copies of shared results that no step used lately."""
    with _cleaning(results.folder) as is_free:
        if is_free and results.is_shared:
            _clean(results.folder, keep_runs=0, live=(), now=now, forget=lambda _: None)


@contextlib.contextmanager
def _cleaning(folder: Path) -> Iterator[bool]:
    """Keep steps of this machine out while the folder is cleaned; False where one is at work."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(_lock(folder), wait=False))
        except BlockingIOError:
            log.info("training folder is in use, a later run cleans it")
            yield False
            return
        stack.enter_context(storage_errors(f"clean {folder}"))
        yield True


def _clean(
    place: Place, *, keep_runs: int, live: Collection[str], now: datetime, forget: Callable[[str], None]
) -> tuple[str, ...]:
    runs = sorted(_records(place), key=lambda r: r.finished_at, reverse=True)
    kept = [run for number, run in enumerate(runs) if number < keep_runs or run.run_id in live]
    needed = {folder for run in kept for folder in run.folders}
    gone = []
    for kind in RESULTS:
        folders = folders_in(place / kind)
        published = {folder.name for folder in folders}
        for folder in folders:
            name = f"{kind}/{folder.name}"
            # A local one with a dot is of a cleaning or a step that was killed: none is at work.
            if not folder.name.startswith(".") and (name in needed or now - _last_used(folder) < GRACE):
                continue
            left, key = _unpublish(folder), _key_of(folder.name)
            if kind == DATASETS and (key == folder.name or key not in published):
                forget(key)
            _delete(left, key)
            if not folder.name.startswith("."):
                gone.append(name)
    for run in runs:
        if run not in kept:
            delete_folder(_record(place, run.run_id))
    if gone:
        log.info("training folder cleaned", folders=len(gone), runs_kept=len(kept))
    return tuple(gone)


def _records(place: Place) -> Iterator[RunRecord]:
    for folder in folders_in(place / RUNS):
        with contextlib.suppress(FileNotFoundError):  # its deletion was cut short, or is under way
            yield from_plain(RunRecord, json.loads((folder / RESULT_FILE).read_bytes()))


def _unpublish(folder: Place) -> Place:
    """See that what is left of a result after a kill is none; returns where it is."""
    if isinstance(folder, ObjectPath):
        folder.bucket.delete(
            found.key for found in folder.bucket.below(folder.prefix) if found.key.endswith(f"/{LIST_FILE}")
        )
        return folder
    path = local_path(folder)
    return path if path.name.startswith(".") else path.rename(path.with_name(f"{_EXPIRED}{path.name}"))


def _delete(left: Place, key: str) -> None:
    if isinstance(left, ObjectPath):
        delete_folder(left)
        return
    path = local_path(left)
    shutil.rmtree(path)
    path.with_name(f"{key}.lock").unlink(missing_ok=True)


def _key_of(name: str) -> str:
    """Of a folder: `<key>`, or `.expired-<key>` or `.<key>.<random>` where a kill left it."""
    return name.removeprefix(_EXPIRED).removeprefix(".").partition(".")[0]


def _record(place: Place, run_id: str) -> Place:
    """Named by a hash: whatever a tracker calls its runs, it is one path component."""
    return place / RUNS / content_key(run_id)


def _lock(folder: Path) -> Path:
    return folder / "in-use.lock"


def _last_used(folder: Place) -> datetime:
    """When the folder, or anything in it, was made or read."""
    if isinstance(folder, ObjectPath):
        newest = max(found.modified for found in folder.bucket.below(folder.prefix))
        return newest.astimezone(UTC)
    path = local_path(folder)
    return datetime.fromtimestamp(max(p.stat().st_mtime for p in (path, *path.rglob("*"))), UTC)
