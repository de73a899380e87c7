"""Commit: staged rows of all instruments into the lake, in one commit of bars."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autotrader.data.bars import BarsReport, BarStore
from autotrader.data.lake import Lake, LakeTable, fresh_key
from autotrader.data.schemas import QUARANTINE
from autotrader.ingestion.staging import StagedFrames
from autotrader.ingestion.validate import Validated
from autotrader.ports.places import Places

QUARANTINE_KEY = ("ts", "sha256", "row")


@dataclass(frozen=True, slots=True)
class Committed:
    """What a run brought into the lake.

    Attributes
    ----------
    bars : BarsReport
    quarantined : int
        Rows that are new in the quarantine.
    commit_key : str
        Of the commits; begins with a hash of the staged rows.
    """

    bars: BarsReport
    quarantined: int
    commit_key: str


def quarantine_table(lake: Lake) -> LakeTable:
    """Rows that a check refused; the first record of a row stays."""
    return lake.table("quarantine", QUARANTINE, row_key=QUARANTINE_KEY)


def commit_bars(
    lake: Lake,
    bars: BarStore,
    loads: Sequence[Validated],
    *,
    places: Places = Path,
    seen_at: datetime | None = None,
) -> Committed:
    """Store what was staged: run it again, or after a kill, and the tables are the same.

    Parameters
    ----------
    places : Places
        Opens the staged files; local ones if left out.
    seen_at : datetime or None
        Market time from which restatements are known, instead of the arrival of their page: of a
        reprocess, which may read old pages in a new way.

    Raises
    ------
    NotFound, BadData
        If staged files are gone or damaged: validate again.
    Rejected, DependencyError
        If the lake cannot be written; it stays as it was.
    """
    content = "\n".join(sorted(f"{load.assignment.id} {load.content}" for load in loads))
    commit_key = fresh_key(hashlib.sha256(content.encode()).hexdigest())
    refused = [places(load.quarantine) for load in loads if load.quarantine]
    quarantined = 0
    if refused:
        table = quarantine_table(lake)
        quarantined = table.upsert(StagedFrames(refused), commit_key=commit_key, values=()).inserted
    clean = [places(path) for load in loads for path in load.clean]
    return Committed(
        bars.upsert(StagedFrames(clean), commit_key=commit_key, seen_at=seen_at), quarantined, commit_key
    )
