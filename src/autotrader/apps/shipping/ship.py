"""Ship the prediction logs to the lake, once or until SIGTERM."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from autotrader import command
from autotrader.apps.serving import segments
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.domain.errors import DependencyError, ExitCode, NotFound, Refused
from autotrader.files import storage_errors

if TYPE_CHECKING:
    from autotrader.data.predictions import PredictionStore

LOCK = ".shipping.lock"
# Between two passes of one that was told to end.
LEAVING_SECONDS = 0.5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shipment:
    """What a pass over all segments did.

    Attributes
    ----------
    rows, inserted : int
        That were read, and of them those that the lake had not yet.
    removed, quarantined, open : int
        Segments; the last are those that a service still writes to.
    """

    segments: int = 0
    rows: int = 0
    inserted: int = 0
    removed: int = 0
    quarantined: int = 0
    open: int = 0


def ship(
    *,
    settings: Settings,
    lake: Lake,
    log: Path | None = None,
    once: bool = False,
    every_seconds: float = 5.0,
    keep_hours: float = 1.0,
    leave_seconds: float = 0.0,
) -> command.Result:
    """Bring what both colours predicted from their logs to the lake.

    It may be killed at any time: nothing is lost, nothing doubled. A segment that cannot be read is
    put aside in the lake's folder `quarantined_segments` with the reason, and the rest goes on. Exits 1
    after a single pass that put one aside, or when it was told to end and could not ship all.

    Parameters
    ----------
    log : Path or None
        Folder of the logs; those in folders below are shipped too. Default: predictions under home.
    once : bool
        Make one pass instead of going on until SIGTERM.
    every_seconds : float
        Between two passes.
    keep_hours : float
        How long a shipped segment is kept.
    leave_seconds : float
        After SIGTERM it goes on for so long, at most, until the services have closed their logs and all
        is shipped; for a folder that is gone when it ends, as a container's.

    Raises
    ------
    NotFound
        If a single pass finds no such folder.
    Refused
        If another process ships this folder.
    DependencyError
        If a single pass, or the last one, cannot write the lake. Else the next pass tries again.
    """
    from autotrader.data.predictions import PredictionStore

    folder = log or settings.home / "predictions"
    store = PredictionStore(lake)
    if once and not folder.is_dir():
        raise NotFound(f"expected a folder of prediction logs, was none: {folder}")
    with storage_errors(f"ship {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if once:
            done = ship_all(folder, store, keep_seconds=keep_hours * 3600)
        else:
            done = _ship_until_told(
                folder,
                store,
                every_seconds=every_seconds,
                keep_seconds=keep_hours * 3600,
                leave_seconds=leave_seconds,
            )
    text = (
        f"{done.inserted:,} new predictions of {done.rows:,} in {done.segments} segments; "
        f"removed {done.removed}, put aside {done.quarantined}"
    )
    if leave_seconds and done.open:
        text += f"; {done.open} were still written to after {leave_seconds:g} s"
    failed = done.quarantined if once else leave_seconds and (done.open or done.quarantined)
    return command.Result(done, text, ExitCode.FAILED if failed else ExitCode.DONE)


def ship_all(folder: Path, store: PredictionStore, *, keep_seconds: float) -> Shipment:
    """One pass over the segments of the folder and those below.

    Raises
    ------
    DependencyError
        If the lake or the folder cannot be written.
    """
    from autotrader.apps.shipping.journey import ship_segment

    done = Shipment()
    for path in segments.find(folder):
        with contextlib.suppress(FileNotFoundError):  # a service removed its empty one meanwhile
            found = ship_segment(path, store, keep_seconds=keep_seconds)
            done = Shipment(
                done.segments + 1,
                done.rows + found.rows,
                done.inserted + found.inserted,
                done.removed + found.removed,
                done.quarantined + (found.quarantined is not None),
                done.open + (not found.finished),
            )
    return done


def _ship_until_told(
    folder: Path,
    store: PredictionStore,
    *,
    every_seconds: float,
    keep_seconds: float,
    leave_seconds: float,
) -> Shipment:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    total = Shipment()
    leave_until: float | None = None
    while True:
        if told.is_set() and leave_until is None:
            leave_until = time.monotonic() + leave_seconds
        is_last = leave_until is not None and time.monotonic() >= leave_until
        is_done = False
        try:
            found = ship_all(folder, store, keep_seconds=keep_seconds)
        except DependencyError as error:
            if is_last:
                raise
            _log.warning("cannot ship now, will try again", reason=str(error))
        else:
            if found.rows or found.quarantined:
                _log.info("shipped", rows=found.rows, new=found.inserted, quarantined=found.quarantined)
            total = replace(
                total,
                segments=found.segments,
                rows=total.rows + found.rows,
                inserted=total.inserted + found.inserted,
                removed=total.removed + found.removed,
                quarantined=total.quarantined + found.quarantined,
                open=found.open,
            )
            # Nothing new: or a service might have begun another segment behind this pass's back.
            is_done = leave_until is not None and not found.open and not found.rows
        if is_last or is_done:
            return total
        if leave_until is None:
            told.wait(every_seconds)
        else:
            time.sleep(LEAVING_SECONDS)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with storage_errors(f"lock {folder}"):
        lock = (folder / LOCK).open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"expected to be the only one that ships {folder}, was another: let it") from None
        yield


if __name__ == "__main__":
    raise SystemExit(command.run(ship))
