"""Validate: archived pages into staged rows, clean and refused, with a verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from autotrader.data.calendars import expected_opens
from autotrader.data.page_files import payload_digest
from autotrader.data.quality import (
    check_page,
    missing_finding,
    order_finding,
    refused_findings,
    series_findings,
)
from autotrader.data.schemas import DECODED_BARS, QUARANTINE, STAGED_BARS, TIMESTAMP
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.verdicts import Finding, Severity, Verdict
from autotrader.ingestion.archive import Archived
from autotrader.ingestion.staging import read_entries, write_frame
from autotrader.ingestion.windows import Assignment
from autotrader.ports.archive import Archive, ArchiveEntry
from autotrader.ports.market_data import PageDecoder, RawPage
from autotrader.ports.places import Place, Places

_BATCH_ROWS = 250_000
_UNREADABLE = "unreadable"
_WHOLE_PAGE = -1


@dataclass(frozen=True, slots=True)
class Validated:
    """Staged rows of one assignment.

    Attributes
    ----------
    clean : tuple of str
        Parquet files in `STAGED_BARS` columns, to be stored in this order; ts is unique in each.
    quarantine : str or None
        Parquet file in `QUARANTINE` columns, if any row was refused.
    rows, refused : int
    content : str
        Hash of the staged files.
    verdict : Verdict
    """

    assignment: Assignment
    clean: tuple[str, ...]
    quarantine: str | None
    rows: int
    refused: int
    content: str
    verdict: Verdict


@dataclass
class Batch:
    """Pages whose windows do not overlap, in order of arrival, read together.

    Attributes
    ----------
    clean : list of pl.DataFrame
        `STAGED_BARS` columns, one frame a page.
    refused : list of pl.DataFrame
        `QUARANTINE` columns.
    keys : list of str
        Of the archived pages.
    windows : list of tuple
        Start and end of each page.
    interval : Interval or None
        Of all pages; None before the first.
    rows : int
        In `clean`.
    unordered, unreadable : int
        Pages.
    """

    clean: list[pl.DataFrame] = field(default_factory=list)
    refused: list[pl.DataFrame] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    windows: list[tuple[datetime, datetime]] = field(default_factory=list)
    interval: Interval | None = None
    rows: int = 0
    unordered: int = 0
    unreadable: int = 0

    def takes(self, page: RawPage) -> bool:
        """Whether the page fits: same interval, no overlap, and not too many rows already."""
        apart = all(page.end <= start or page.start >= end for start, end in self.windows)
        return self.interval in (None, page.interval) and apart and self.rows < _BATCH_ROWS

    def add(self, entry: ArchiveEntry, page: RawPage, decode: PageDecoder, latency: timedelta) -> None:
        """Decode and check the page, and keep its rows."""
        self.interval = page.interval
        self.keys.append(entry.key)
        self.windows.append((page.start, page.end))
        try:
            checked = check_page(decode(page), page)
        except BadData as error:
            self.unreadable += 1
            self.refused.append(_quarantined(_unreadable_row(page, error), page, latency))
            return
        self.unordered += not checked.in_order
        self.rows += checked.clean.height
        self.clean.append(
            _with_provenance(
                checked.clean, page, latency, seen_at=pl.lit(page.market_time, TIMESTAMP)
            ).select(list(STAGED_BARS))
        )
        if checked.refused.height:
            self.refused.append(_quarantined(checked.refused, page, latency))

    def bars(self) -> pl.DataFrame:
        """Clean rows, sorted by ts, ts unique."""
        return pl.concat(self.clean).sort("ts") if self.clean else pl.DataFrame(schema=STAGED_BARS)

    def quarantine(self) -> pl.DataFrame:
        """Refused rows, sorted as the quarantine table wants them."""
        if not self.refused:
            return pl.DataFrame(schema=QUARANTINE)
        return pl.concat(self.refused).sort("ts", "sha256", "row")

    def commit_key(self) -> str:
        """Names the content: a hash of the pages' keys, which hold their payloads' hashes."""
        return hashlib.sha256("\n".join(self.keys).encode()).hexdigest()


def batches(
    archive: Archive, entries: Iterable[ArchiveEntry], decode: PageDecoder, *, latency: timedelta
) -> Iterator[Batch]:
    """Read archived pages, in the order given, in as few batches as their windows allow."""
    batch = Batch()
    for entry in entries:
        page = archive.load(entry)
        if batch.keys and not batch.takes(page):
            yield batch
            batch = Batch()
        batch.add(entry, page, decode, latency)
    if batch.keys:
        yield batch


def validate_archived(
    archive: Archive, decode: PageDecoder, archived: Archived, *, places: Places = Path, latency: timedelta
) -> Validated:
    """Decode and check the archived pages of an assignment, and stage what comes of them.

    Parameters
    ----------
    places : Places
        Opens the staged files; local ones if left out.
    latency : timedelta
        From a bar's close until the venue publishes it: `known_at` of a bar that is seen first.

    Raises
    ------
    NotFound, BadData
        If a page is not in the archive any more, or is damaged there.
    """
    assignment = archived.assignment
    listed = places(archived.entries)
    folder = listed.parent
    clean: list[Place] = []
    refused: list[pl.DataFrame] = []
    series: list[pl.DataFrame] = []
    unordered = unreadable = 0
    read = batches(archive, read_entries(listed), decode, latency=latency)
    for number, batch in enumerate(read):
        rows = batch.bars()
        if rows.height:
            path = folder / f"clean-{number:04}.parquet"
            write_frame(path, rows)
            clean.append(path)
            series.append(rows.select(list(DECODED_BARS)))
        refused.append(batch.quarantine())
        unordered += batch.unordered
        unreadable += batch.unreadable
    bad = pl.concat([pl.DataFrame(schema=QUARANTINE), *refused])
    quarantine = folder / "quarantine.parquet" if bad.height else None
    if quarantine is not None:
        write_frame(
            quarantine, bad.unique(["ts", "sha256", "row"], maintain_order=True).sort("ts", "sha256", "row")
        )
    whole = pl.concat([pl.DataFrame(schema=DECODED_BARS), *series]).unique("ts", keep="last").sort("ts")
    return Validated(
        assignment=assignment,
        clean=tuple(map(str, clean)),
        quarantine=str(quarantine) if quarantine else None,
        rows=whole.height,
        refused=bad.height,
        content=_digest([*clean, quarantine] if quarantine else clean),
        verdict=_verdict(assignment, whole, bad, unordered, unreadable),
    )


def _digest(paths: Sequence[Place]) -> str:
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _verdict(
    assignment: Assignment, clean: pl.DataFrame, refused: pl.DataFrame, unordered: int, unreadable: int
) -> Verdict:
    subject = str(assignment.id)
    expected = expected_opens(assignment.venue, assignment.interval, assignment.start, assignment.end)
    rows_refused = refused.filter(pl.col("row") != _WHOLE_PAGE)
    return Verdict(
        subject,
        (
            missing_finding(subject, expected, clean["ts"]),
            *refused_findings(subject, rows_refused, clean.height + rows_refused.height),
            *series_findings(subject, clean),
            order_finding(subject, unordered),
            Finding(
                _UNREADABLE,
                Severity.CRITICAL if unreadable else Severity.HEALTHY,
                f"{subject} came with {unreadable} pages that could not be read",
                {"pages": unreadable},
            ),
        ),
    )


def _with_provenance(rows: pl.DataFrame, page: RawPage, latency: timedelta, **more: pl.Expr) -> pl.DataFrame:
    return rows.with_columns(
        known_at=pl.col("ts") + page.interval.delta + latency,
        ingested_at=pl.lit(page.fetched_at, TIMESTAMP),
        source=pl.lit(page.source),
        **more,
    )


def _quarantined(rows: pl.DataFrame, page: RawPage, latency: timedelta) -> pl.DataFrame:
    return _with_provenance(rows, page, latency, sha256=pl.lit(payload_digest(page))).select(list(QUARANTINE))


def _unreadable_row(page: RawPage, error: BadData) -> pl.DataFrame:
    row = {
        "venue": page.venue.value,
        "instrument": page.instrument,
        "interval": page.interval.value,
        "ts": page.start,
        "row": _WHOLE_PAGE,
        "reason": f"{_UNREADABLE}: {error}",
    }
    schema = DECODED_BARS | {"row": pl.Int64, "reason": pl.String}
    return pl.DataFrame([row], schema=schema)
