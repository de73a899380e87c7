"""Bring the bars of a day back from the archive: `python -m autotrader.ingestion.restore`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.data.bars import BarsReport, BarStore
from autotrader.data.blast_radius import BlastRadius, measure
from autotrader.data.changes import compare
from autotrader.data.lake import Lake
from autotrader.data.schemas import BAR_VALUES
from autotrader.data.selection import select_instruments
from autotrader.domain.errors import ConfigurationError, ExitCode, NotFound, Refused
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ingestion.archive import find_archived
from autotrader.ingestion.commit import commit_bars
from autotrader.ingestion.staging import StagedFrames
from autotrader.ingestion.validate import Validated, validate_archived
from autotrader.ingestion.windows import Assignment
from autotrader.ports.archive import Archive
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.holds import Hold, Holds
from autotrader.ports.market_data import PageDecoders, longest_page
from autotrader.ports.registry import ModelRegistry

_NEAREST = 3  # days that are named on each side where the asked one is missing


@dataclass(frozen=True, slots=True)
class Restoration:
    """What bringing a day back does, or would do.

    Attributes
    ----------
    read : dict
        Instrument to number of bars that the archive has of the day (and of pages that reach into it).
    missing, differing, equal : int
        Of these, bars that are not stored, that differ from the stored ones and were fetched after
        them, and the others.
    blast_radius : BlastRadius
        What was derived from the bars of the day that stand now.
    stored : BarsReport or None
        What was done; None of a dry run.
    """

    day: date
    read: dict[str, int]
    missing: int
    differing: int
    equal: int
    blast_radius: BlastRadius
    stored: BarsReport | None = None


def restore(
    *,
    date: date,
    reason: str,
    instrument: str | None = None,
    dry_run: bool = False,
    lookback_days: int = 7,
    settings: Settings,
    archive: Archive,
    decoders: PageDecoders,
    lake: Lake,
    holds: Holds,
    registry: ModelRegistry,
    events: EventLog,
    clock: MarketClock,
    wall: WallClock,
) -> command.Result:
    """Read the raw pages of a day from the archive again, and store their bars. May be repeated.

    Bars that the lake lost come back; those that differ from the stored ones are restatements, and
    the stored ones go into history. Asks no venue, deletes nothing.

    Parameters
    ----------
    date : date
        The day, UTC.
    reason : str
        Why; kept in the event log.
    instrument : str or None
        A symbol of the settings, or venue:symbol; all that the archive has of the day if left out.
    dry_run : bool
        Say what would be stored, and store nothing.
    lookback_days : int
        How long after a bar derived rows are counted as computed from it.
    """
    if not reason.strip():
        raise ConfigurationError("expected --reason, was empty: say why")
    start = datetime.combine(date, time(), UTC)
    end = min(start + timedelta(days=1), clock.now())
    if end <= start:
        raise ConfigurationError(f"expected a day not after market time {clock.now():%F %T}, was {date}")
    named = select_instruments(settings, [instrument])[0] if instrument else None
    chosen = [named] if named else _archived(archive, date, start - longest_page(settings.strategy.interval))
    _refuse_held(holds, chosen, start, end)
    digest = hashlib.sha256(f"{date} {named}".encode()).hexdigest()[:12]
    staging = settings.home / "staging" / f"restore-{digest}"
    bars = BarStore(lake, holds)
    try:
        loads = [
            _read(
                archive,
                decoders,
                settings,
                Assignment(i.venue, i.symbol, settings.strategy.interval, start, end),
                staging,
            )
            for i in chosen
        ]
        loads = [load for load in loads if load.rows or load.refused]
        if not loads:
            raise NotFound(_absent(archive, date, named))
        window = Hold("restore", named, start, end, reason, operator(), placed_at=wall.now())
        radius = measure(
            window,
            lake=lake,
            bars=bars,
            registry=registry,
            model_name=settings.strategy.strategy_id,
            lookback=timedelta(days=lookback_days),
        )
        missing, differing, equal = _differences(bars, loads)
        read = {str(load.assignment.id): load.rows for load in loads}
        planned = Restoration(date, read, missing, differing, equal, radius)
        if dry_run:
            return _result(planned)
        stored = commit_bars(lake, bars, loads, seen_at=clock.now()).bars
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    done = Restoration(date, read, missing, differing, equal, radius, stored)
    events.record(_event(done, named, reason.strip(), wall.now()))
    return _result(done)


def _archived(archive: Archive, day: date, since: datetime) -> list[InstrumentId]:
    """Instruments with pages of the day, or of so long before that their pages may reach into it."""
    keys = (entry.key.split("/") for entry in archive.entries(start=since.date(), end=day))
    found = {InstrumentId(Venue(venue), unquote(symbol)) for _, venue, symbol, _ in keys}
    if not found:
        raise NotFound(_absent(archive, day, None))
    return sorted(found)


def _refuse_held(holds: Holds, chosen: Sequence[InstrumentId], start: datetime, end: datetime) -> None:
    held = [
        hold
        for hold in holds.in_force()
        if hold.start < end and hold.end > start and (hold.instrument is None or hold.instrument in chosen)
    ]
    if held:
        told = "; ".join(
            f"{h.id} of {h.instrument or 'all instruments'}, {h.start:%F %H:%M} to {h.end:%F %H:%M},"
            f" by {h.actor}: {h.reason}"
            for h in held
        )
        raise Refused(
            f"expected no hold on these bars, was {told}: put them back with"
            f" scripts/rollback_data.sh --undo {held[0].id}, if that is what you want; nothing was changed"
        )


def _read(
    archive: Archive, decoders: PageDecoders, settings: Settings, assignment: Assignment, staging: Path
) -> Validated:
    return validate_archived(
        archive,
        decoders(assignment.venue),
        find_archived(archive, assignment, staging=staging),
        latency=timedelta(seconds=settings.publication_latency_seconds(assignment.venue)),
    )


def _absent(archive: Archive, day: date, instrument: InstrumentId | None) -> str:
    """That the archive has nothing of the day, and the nearest days of which it has something."""
    entries = archive.entries(
        venue=instrument.venue if instrument else None, instrument=instrument.symbol if instrument else None
    )
    days = sorted({entry.key.partition("/")[0] for entry in entries})
    before = [d for d in days if d < day.isoformat()][-_NEAREST:]
    after = [d for d in days if d > day.isoformat()][:_NEAREST]
    near = f"the nearest days are {', '.join(before + after)}" if before or after else "it has no day at all"
    return f"expected raw pages of {instrument or 'any instrument'} of {day} in the archive, was none: {near}"


def _differences(bars: BarStore, loads: Sequence[Validated]) -> tuple[int, int, int]:
    missing = differing = equal = 0
    for load in loads:
        frames = list(StagedFrames(load.clean))
        if not frames:
            continue
        newest = pl.concat(frames).sort("ingested_at", maintain_order=True)
        newest = newest.unique("ts", keep="last", maintain_order=True).sort("ts")
        stored = bars.read(
            [load.assignment.id],
            interval=load.assignment.interval,
            start=newest["ts"][0],
            end=newest["ts"][-1] + load.assignment.interval.delta,
        )
        found = compare(stored, newest, key=("ts",), values=BAR_VALUES)
        late = (found.differing["ingested_at"] < found.superseded["ingested_at"]).fill_null(value=False)
        missing += found.fresh.height
        differing += int((~late).sum())
        equal += found.equal + int(late.sum())
    return missing, differing, equal


def _event(done: Restoration, instrument: InstrumentId | None, reason: str, now: datetime) -> Event:
    plain = command.to_plain(done)
    return Event(
        key=f"restore/{done.day}/{instrument or '*'}/{now.isoformat()}",
        type=EventType.DATA,
        severity="warning",
        message=f"bars of {instrument or 'all'} of {done.day} brought back from the archive: {reason}",
        actor=operator(),
        at=now,
        instrument=str(instrument) if instrument else None,
        data=plain,
    )


def _result(done: Restoration) -> command.Result:
    stored = done.stored
    if stored is None:
        first = (
            f"dry run: would store {done.missing} bars that are missing, and restate {done.differing};"
            f" {done.equal} stand already"
        )
    else:
        first = (
            f"restored {done.day}: {stored.inserted} bars came back, {stored.restated} were restated,"
            f" {stored.unchanged} stood already"
        )
    lines = [first, *(f"  the archive has {count} bars of {name}" for name, count in done.read.items())]
    lines += done.blast_radius.lines()
    return command.Result(done, "\n".join(lines), ExitCode.DONE)


if __name__ == "__main__":
    raise SystemExit(command.run(restore))
