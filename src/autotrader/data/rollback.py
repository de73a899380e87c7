"""Take stored bars back, or put them back: `python -m autotrader.data.rollback`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore, superseded_at
from autotrader.data.blast_radius import BlastRadius, measure
from autotrader.data.lake import Lake
from autotrader.data.selection import select_instruments
from autotrader.domain.errors import ConfigurationError, ExitCode, NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.holds import Hold, Holds
from autotrader.ports.registry import ModelRegistry


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback or its undoing did, or would do.

    Attributes
    ----------
    hold_id : str
        What `--undo` takes.
    rows : int
        Bars taken back, or put back; what a dry run would.
    still_held_by : tuple of str
        Of an undoing, other holds in force over these bars: theirs stay out.
    """

    action: str
    hold_id: str
    rows: int
    blast_radius: BlastRadius
    still_held_by: tuple[str, ...] = ()


def rollback(
    *,
    actor: str,
    reason: str,
    date: date | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    instrument: str | None = None,
    undo: str | None = None,
    dry_run: bool = False,
    lookback_days: int = 7,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    registry: ModelRegistry,
    events: EventLog,
    clock: MarketClock,
    wall: WallClock,
) -> command.Result:
    """Take bars of a day or a range back into history, and hold them out of the lake.

    Destroys nothing: `--undo` puts the rows back exactly as they were, but for those that another
    hold in force covers: its own undoing brings them. While the hold is in force no load brings them
    back. Says what was derived from them. May be repeated.

    Parameters
    ----------
    actor : str
        Who does it.
    reason : str
        Why.
    date : date or None
        A day, UTC; instead of start and end.
    start, end : datetime or None
        First open, and the open before which to stop, UTC.
    instrument : str or None
        A symbol of the settings, or venue:symbol; every instrument in the lake if left out.
    undo : str or None
        A hold to end, its rows to be put back; instead of dates.
    dry_run : bool
        Say what would be done, and do nothing.
    lookback_days : int
        How long after a bar derived rows are counted as computed from it.
    """
    if not actor.strip() or not reason.strip():
        raise ConfigurationError("expected --actor and --reason, was empty: say who does it and why")
    bars = BarStore(lake, holds)
    if undo is not None:
        if date or start or end or instrument:
            raise ConfigurationError("expected --undo alone, was with dates or an instrument")
        hold = _find(holds, undo)
    else:
        named = select_instruments(settings, [instrument])[0] if instrument else None
        hold = _in_force_already(
            holds, _make_hold(_window(date, start, end), named, reason, actor, wall.now())
        )
    radius = measure(
        hold,
        lake=lake,
        bars=bars,
        registry=registry,
        model_name=settings.strategy.strategy_id,
        lookback=timedelta(days=lookback_days),
    )
    action = "undo" if undo is not None else "rollback"
    others = tuple(h.id for h in holds.in_force() if _overlap(h, hold)) if undo is not None else ()
    if dry_run:
        rows = bars.put_back(hold, dry_run=True) if undo is not None else sum(radius.bars.values())
        return _result(RolledBack(f"{action} (dry run)", hold.id, rows, radius, others))
    if undo is not None:
        rows = bars.put_back(hold)
        if hold.released_at is None:
            holds.release(hold.id, actor=actor, at=wall.now())
    else:
        holds.place(hold)
        rows = bars.take_back(hold, superseded_at=superseded_at(hold, clock))
    done = RolledBack(action, hold.id, rows, radius, others)
    events.record(_event(done, hold, actor, reason, wall.now()))
    return _result(done)


def _window(day: date | None, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    if day is not None and start is None and end is None:
        midnight = datetime.combine(day, time(), UTC)
        return midnight, midnight + timedelta(days=1)
    if day is not None or start is None or end is None:
        raise ConfigurationError("expected --date, or --start and --end, or --undo HOLD_ID")
    if end <= start:
        raise ConfigurationError(f"expected start before end, was {start} to {end}: swap the dates")
    return start, end


def _make_hold(
    window: tuple[datetime, datetime],
    instrument: InstrumentId | None,
    reason: str,
    actor: str,
    now: datetime,
) -> Hold:
    start, end = window
    what = f"{instrument or '*'} {start.isoformat()} {end.isoformat()}"
    name = f"hold-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    return Hold(name, instrument, start, end, reason, actor, placed_at=now)


def _in_force_already(holds: Holds, hold: Hold) -> Hold:
    """The same rollback asked for twice is one hold, with the time of the first."""
    return next((h for h in holds.in_force() if h.id == hold.id), hold)


def _overlap(other: Hold, hold: Hold) -> bool:
    same = other.instrument == hold.instrument or None in (other.instrument, hold.instrument)
    return other.id != hold.id and same and other.start < hold.end and other.end > hold.start


def _find(holds: Holds, hold_id: str) -> Hold:
    found = next((h for h in holds.all() if h.id == hold_id), None)
    if found is None:
        known = ", ".join(h.id for h in holds.in_force()) or "none is in force"
        raise NotFound(f"expected the id of a hold ({known}), was {hold_id!r}")
    return found


def _event(done: RolledBack, hold: Hold, actor: str, reason: str, now: datetime) -> Event:
    what = f"{hold.instrument or 'all instruments'} {hold.start:%Y-%m-%d %H:%M} to {hold.end:%Y-%m-%d %H:%M}"
    verb = "put back" if done.action == "undo" else "taken back"
    return Event(
        key=f"{done.action}/{hold.id}/{hold.placed_at.isoformat()}",
        type=EventType.DATA,
        severity="warning",
        message=f"{done.rows} bars of {what} {verb}: {reason}",
        actor=actor,
        at=now,
        instrument=str(hold.instrument) if hold.instrument else None,
        data=command.to_plain(done),
    )


def _result(done: RolledBack) -> command.Result:
    lines = [f"{done.action}: {done.rows} bars, hold {done.hold_id}"]
    if done.still_held_by:
        lines.append(f"bars that these holds cover stay out: {', '.join(done.still_held_by)}")
    lines += done.blast_radius.lines()
    return command.Result(done, "\n".join(lines), ExitCode.DONE)


if __name__ == "__main__":
    raise SystemExit(command.run(rollback))
