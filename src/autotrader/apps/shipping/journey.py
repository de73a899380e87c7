"""How far a segment has been shipped, and what becomes of it in the end.

Beside a segment lies `<segment>.shipped`: the offset up to which its records are in the lake. It is
written behind the commit: a kill between the two ships the same records again, which changes
nothing, because the lake knows them by name.

A segment that cannot be read is put aside beside the lake's tables, with the reason: the folder of
the logs may be gone soon, as a container's volume is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from autotrader.apps.serving import segments
from autotrader.apps.shipping.frames import to_frame
from autotrader.data.places import write_whole
from autotrader.data.predictions import PredictionStore
from autotrader.domain.errors import BadData
from autotrader.files import storage_errors, write_atomically

ASIDE = "quarantined_segments"
MARK = ".shipped"
ROWS_AT_ONCE = 100_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shipped:
    """What one pass over a segment did.

    Attributes
    ----------
    rows, inserted : int
        That were read, and of them those that the lake had not yet.
    quarantined : str or None
        Why the segment was put aside.
    finished : bool
        Whether nobody could write to it any more when it was read.
    """

    rows: int = 0
    inserted: int = 0
    removed: bool = False
    quarantined: str | None = None
    finished: bool = True


def ship_segment(path: Path, store: PredictionStore, *, keep_seconds: float) -> Shipped:
    """Ship what of a segment is not shipped yet; remove it when it is finished, shipped and old.

    Parameters
    ----------
    path : Path
        Written to by a service, or left by one.
    keep_seconds : float
        Age, since it was last written to, from which a shipped segment goes.

    Raises
    ------
    DependencyError
        If the lake or the folder cannot be written: nothing is lost, ship again.
    """
    finished = segments.is_finished(path)  # asked before it is read: what it holds then is all
    with storage_errors(f"read {path}"):
        content = path.read_bytes()
        modified = path.stat().st_mtime
    try:
        header, begin = segments.read_header(content)
    except BadData as error:
        # One that is still written to stays: what it gets from now on may not leave the folder.
        if not finished:
            return Shipped(finished=False)
        return Shipped(quarantined=_put_aside(path, content, store, str(error)))
    offset = max(begin, _read_mark(path))
    rows = inserted = 0
    while True:
        found = segments.scan(content, header, offset, most_rows=ROWS_AT_ONCE)
        if found.records:
            try:
                report = store.append(to_frame(header, found.records))
            except BadData as error:  # the table of this feature set has other columns
                aside = _put_aside(path, content, store, str(error)) if finished else None
                return Shipped(rows, inserted, quarantined=aside, finished=finished)
            write_atomically(_mark_of(path), str(found.end).encode(), durable=False)
            rows += sum(len(record.ts) for record in found.records)
            inserted += report.inserted
        if not found.records or found.torn or found.corrupt:
            break
        offset = found.end
    if not finished:
        return Shipped(rows, inserted, finished=False)
    if found.corrupt is not None:
        return Shipped(rows, inserted, quarantined=_put_aside(path, content, store, found.corrupt))
    if time.time() - modified < keep_seconds:
        return Shipped(rows, inserted)
    with storage_errors(f"remove {path}"):
        path.unlink()  # before its mark: without it, all would only be shipped again
        _mark_of(path).unlink(missing_ok=True)
    return Shipped(rows, inserted, removed=True)


def _put_aside(path: Path, content: bytes, store: PredictionStore, reason: str) -> str:
    """Move the segment and say why; what of it could be read is in the lake."""
    aside = store.beside(ASIDE)
    write_whole(aside / f"{path.name}.reason", f"{reason}\n".encode())
    write_whole(aside / path.name, content)
    with storage_errors(f"remove {path}"):
        path.unlink()
        _mark_of(path).unlink(missing_ok=True)
    _log.error(
        "a segment of the prediction log was put aside", segment=path.name, aside=str(aside), reason=reason
    )
    return reason


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + MARK)


def _read_mark(path: Path) -> int:
    try:
        return int(_mark_of(path).read_text())
    except (FileNotFoundError, ValueError):  # none, or cut by a power loss: ship again
        return 0
