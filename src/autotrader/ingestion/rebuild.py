"""Rebuild the lake's bars from the archive alone: `python -m autotrader.ingestion.rebuild`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import unquote

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore, superseded_at
from autotrader.data.lake import Lake
from autotrader.data.places import write_whole
from autotrader.domain.errors import Refused
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ingestion.commit import quarantine_table
from autotrader.ingestion.progress import counting_progress
from autotrader.ingestion.validate import Batch
from autotrader.ports.archive import Archive, ArchiveEntry
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Hold, Holds
from autotrader.ports.market_data import PageDecoders
from autotrader.ports.places import Places

TABLES = ("bars", "bars_history", "quarantine")
_UNDER_WAY = "_rebuild_under_way"
_ENDED = "_rebuild_ended"  # holds the key of the rebuild that ended here


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of it.

    Attributes
    ----------
    lake : str
    pages, bars, history, quarantine : int
        Pages that were read, and rows that are now in the tables.
    instruments : tuple of InstrumentId
    """

    lake: str
    pages: int
    bars: int
    history: int
    quarantine: int
    instruments: tuple[InstrumentId, ...]


def rebuild(
    *,
    into: str | None = None,
    key: str | None = None,
    settings: Settings,
    archive: Archive,
    decoders: PageDecoders,
    lake: Lake,
    holds: Holds,
    clock: MarketClock,
    places: Places,
) -> Rebuilt:
    """Make bars, their history and the quarantine again from the archived pages.

    The tables must not exist; if the rebuild is interrupted, run it again.

    Parameters
    ----------
    into : str or None
        Folder or s3:// of another lake; the configured one if left out.
    key : str or None
        Names the rebuild: asked for again after its end, it tells what is there, and does nothing.
    """
    target = Lake(places(into)) if into is not None else lake
    pages: dict[InstrumentId, list[ArchiveEntry]] = {}
    for entry in archive.entries():
        pages.setdefault(_instrument_of(entry), []).append(entry)
    total = sum(map(len, pages.values()))
    with counting_progress("pages", total) as progress:
        return rebuild_bars(
            target,
            archive,
            decoders,
            holds,
            clock,
            pages,
            key=key,
            latency=lambda venue: timedelta(seconds=settings.publication_latency_seconds(venue)),
            advance=lambda: progress.advance(progress.task_ids[0]),
        )


def rebuild_bars(
    lake: Lake,
    archive: Archive,
    decoders: PageDecoders,
    holds: Holds,
    clock: MarketClock,
    pages: dict[InstrumentId, list[ArchiveEntry]],
    *,
    key: str | None = None,
    latency: Callable[[Venue], timedelta],
    advance: Callable[[], None] = lambda: None,
) -> Rebuilt:
    """Read each instrument's pages in order of arrival, and holds where they were placed and ended.

    Raises
    ------
    Refused
        If the lake has such tables already and no rebuild is under way.
    NotFound, BadData
        If a page is gone or damaged.
    """
    marker, ended = lake.root / _UNDER_WAY, lake.root / _ENDED
    present = sorted(set(TABLES) & set(lake.names()))
    if not present or marker.exists():
        write_whole(marker, b"")
        for instrument, entries in sorted(pages.items()):
            _Replay(lake, archive, decoders, holds, clock, instrument, latency(instrument.venue)).run(
                entries, advance
            )
        write_whole(ended, (key or "").encode())
        marker.unlink()
    elif key is None or not ended.exists() or ended.read_bytes() != key.encode():
        raise Refused(
            f"expected a lake without {', '.join(present)} at {lake.root}, was one with: "
            "move it aside, or rebuild --into another place"
        )
    bars = BarStore(lake, holds)
    return Rebuilt(
        str(lake.root),
        sum(map(len, pages.values())),
        bars.bars.count(),
        bars.history.count(),
        quarantine_table(lake).count(),
        tuple(sorted(pages)),
    )


class _Replay:
    """One instrument's life again, in the order in which it happened. Knows which holds are in force."""

    def __init__(
        self,
        lake: Lake,
        archive: Archive,
        decoders: PageDecoders,
        holds: Holds,
        clock: MarketClock,
        instrument: InstrumentId,
        latency: timedelta,
    ) -> None:
        self._archive = archive
        self._decode = decoders(instrument.venue)
        self._clock = clock
        self._instrument = instrument
        self._latency = latency
        self._holds = [h for h in holds.all() if h.instrument in (None, instrument)]
        self._now: datetime | None = None
        self._bars = BarStore(lake, self)
        self._quarantine = quarantine_table(lake)

    def run(self, entries: Sequence[ArchiveEntry], advance: Callable[[], None]) -> None:
        changes = sorted(self._changes(), key=lambda change: change[0])
        batch = Batch()
        for entry in sorted(entries, key=_arrival):
            page = self._archive.load(entry)
            due = [change for change in changes if change[0] <= page.fetched_at]
            if batch.keys and (due or not batch.takes(page)):
                self._store(batch)
                batch = Batch()
            self._apply(due)
            changes = changes[len(due) :]
            self._now = page.fetched_at
            batch.add(entry, page, self._decode, self._latency)
            advance()
        self._store(batch)
        self._apply(changes)

    def in_force(self) -> Sequence[Hold]:
        """Holds at the replayed instant: what `BarStore` asks for."""
        return [
            hold
            for hold in self._holds
            if self._now is not None
            and hold.placed_at <= self._now
            and (hold.released_at is None or self._now < hold.released_at)
        ]

    def _changes(self) -> Iterator[tuple[datetime, Callable[[], object]]]:
        for hold in self._holds:
            own = replace(hold, instrument=self._instrument)
            moment = superseded_at(hold, self._clock)
            yield hold.placed_at, partial(self._bars.take_back, own, superseded_at=moment)
            if hold.released_at is not None:
                yield hold.released_at, partial(self._bars.put_back, own)

    def _apply(self, changes: Sequence[tuple[datetime, Callable[[], object]]]) -> None:
        for self._now, apply in changes:
            apply()

    def _store(self, batch: Batch) -> None:
        if not batch.keys:
            return
        key = f"rebuild/{batch.commit_key()}"
        refused = batch.quarantine()
        self._quarantine.upsert([refused], commit_key=key, values=())
        self._bars.upsert([batch.bars()], commit_key=key)


def _instrument_of(entry: ArchiveEntry) -> InstrumentId:
    _, venue, instrument, _ = entry.key.split("/")
    return InstrumentId(Venue(venue), unquote(instrument))


def _arrival(entry: ArchiveEntry) -> str:
    """Archive names begin with the time of arrival."""
    return entry.key.rpartition("/")[2]


if __name__ == "__main__":
    raise SystemExit(command.run(rebuild))
