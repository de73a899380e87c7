"""Put rebuilt tables in the place of the lake's: `python -m autotrader.ingestion.swap_rebuilt`.

The tables that stood are set aside, never deleted: the swap is undone by the same two moves. A
move is one rename within the lake's folder; a kill between two of them is gone on from by running
it again, since what lies where says what was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.domain.errors import AutotraderError, ConfigurationError, NotFound, Refused
from autotrader.files import local_folder, storage_errors
from autotrader.ingestion.rebuild import TABLES
from autotrader.ports.archive import Archive
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventLog, EventType


@dataclass(frozen=True, slots=True)
class Swap:
    """What stands in the lake and what was rebuilt beside it.

    Attributes
    ----------
    standing, rebuilt : dict
        Table to number of rows; None where it cannot be read.
    lost : int
        Bars that stand and were not rebuilt: the archive does not have them. 0 where the standing
        table cannot be read.
    """

    standing: dict[str, int | None]
    rebuilt: dict[str, int | None]
    lost: int
    set_aside: Path
    moved: tuple[str, ...] = ()


def swap_rebuilt(
    *,
    name: str,
    reason: str,
    undo: bool = False,
    accept_loss: bool = False,
    dry_run: bool = False,
    settings: Settings,
    archive: Archive,
    events: EventLog,
    wall: WallClock,
) -> command.Result:
    """Put bars, history and quarantine that were rebuilt into the lake; set aside what stood.

    Nothing may write meanwhile. Rebuilt tables lie in `<lake>/_rebuilt-<name>`, those that stood
    in `<lake>/_set_aside-<name>`; delete that by hand once nobody needs it.

    Parameters
    ----------
    name : str
        Of the rebuild.
    reason : str
        Why; kept in the event log.
    undo : bool
        Put back what was set aside.
    accept_loss : bool
        Swap even if bars stand that were not rebuilt.
    dry_run : bool
        Compare, and move nothing; may be asked for before anything was rebuilt.
    """
    if not reason.strip():
        raise ConfigurationError("expected --reason, was empty: say why")
    root = local_folder(settings.lake_uri)
    rebuilt, aside = root / f"_rebuilt-{name}", root / f"_set_aside-{name}"
    if undo:
        incoming, outgoing = aside, rebuilt
    else:
        incoming, outgoing = rebuilt, aside
    if dry_run and not undo and not incoming.is_dir():
        return _plan(root, archive)
    if not incoming.is_dir() and not outgoing.is_dir():
        raise NotFound(f"expected tables in {incoming}, was nothing: see --name")
    lost = 0 if undo else _lost(root, rebuilt)
    found = Swap(_rows(root), _rows(incoming), lost, aside)
    if lost and not accept_loss:
        raise Refused(
            f"expected every standing bar to be rebuilt, was {lost} that the archive does not have:"
            " nothing was moved; give --accept-loss to set them aside all the same"
        )
    if dry_run:
        return command.Result(found, f"dry run: {_told(found)}")
    moved = tuple(_move(root, incoming, outgoing))
    done = Swap(_rows(root), found.rebuilt, lost, aside, moved)
    if moved:
        events.record(_event(done, name, reason.strip(), wall, undo=undo))
    return command.Result(done, _told(done) if moved else "nothing is left to move")


def _plan(root: Path, archive: Archive) -> command.Result:
    """What a rebuild would replace, and from what."""
    days = [entry.key.partition("/")[0] for entry in archive.entries()]
    standing = _rows(root)
    others = sorted(set(Lake(str(root)).names()) - set(TABLES))
    span = f" of {min(days)} to {max(days)}" if days else ""
    lines = [
        f"dry run: would rebuild {', '.join(TABLES)} from {len(days)} archived pages{span}",
        f"rows in the lake that would be set aside: {_counts(standing)}",
        f"tables that stay as they are, though derived from them: {', '.join(others) or 'none'}",
    ]
    data = {"pages": len(days), "standing": standing, "stay": others}
    return command.Result(data, "\n".join(lines))


def _move(root: Path, incoming: Path, outgoing: Path) -> Iterator[str]:
    """What is incoming takes its place; a table that came in already has left `incoming`."""
    for table in TABLES:
        if not (incoming / table).exists():
            continue
        with storage_errors(f"move {incoming / table}"):
            if (root / table).exists():
                outgoing.mkdir(exist_ok=True)
                (root / table).rename(outgoing / table)
            (incoming / table).rename(root / table)
        yield table


def _lost(root: Path, rebuilt: Path) -> int:
    """Standing bars whose keys were not rebuilt."""
    key = ["venue", "instrument", "interval", "ts"]
    if not (rebuilt / "bars").exists():
        return 0
    try:
        standing = Lake(str(root)).open("bars").read(columns=key)
    except AutotraderError:
        return 0
    again = Lake(str(rebuilt)).open("bars").read(columns=key)
    return standing.join(again, on=key, how="anti").height


def _rows(folder: Path) -> dict[str, int | None]:
    lake, counts = Lake(str(folder)), dict[str, int | None]()
    for table in TABLES:
        if (folder / table).exists():
            try:
                counts[table] = lake.open(table).count()
            except AutotraderError:
                counts[table] = None
    return counts


def _told(swap: Swap) -> str:
    lines = [f"rows in the lake: {_counts(swap.standing)}"]
    lines.append(f"rows that were beside it: {_counts(swap.rebuilt)}")
    lines.append(f"standing bars that were not rebuilt: {swap.lost}")
    lines.append(f"set aside, and kept: {swap.set_aside}")
    return "\n".join(lines)


def _counts(counts: dict[str, int | None]) -> str:
    told = (f"{table} {'unreadable' if rows is None else rows}" for table, rows in counts.items())
    return ", ".join(told) or "none"


def _event(done: Swap, name: str, reason: str, wall: WallClock, *, undo: bool) -> Event:
    what = "put back as they stood before" if undo else "replaced by those rebuilt from the archive"
    now = wall.now()
    return Event(
        key=f"swap/{name}/{now.isoformat()}",
        type=EventType.DATA,
        severity="critical",
        message=f"{', '.join(done.moved)} were {what}: {reason}",
        actor=operator(),
        at=now,
        data=command.to_plain(done),
    )


if __name__ == "__main__":
    raise SystemExit(command.run(swap_rebuilt))
