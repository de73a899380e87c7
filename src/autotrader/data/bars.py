"""Bars in the lake, with what they were before.

`bars` holds the row that stands for each key; `bars_history` the rows that no longer stand:
superseded by a restatement of the venue, or taken back by a rollback (a hold). Both together
answer what was known at an instant: as-of reads use `known_at`, never table versions.

History is committed before bars. A kill between the two leaves rows in both, which reads as if
they stood, and the next run of the same load makes both right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypedDict

import polars as pl

from autotrader.data.changes import ReplaceDiffering, Resolution, compare
from autotrader.data.lake import PARTITION_BY, Lake, LakeTable, fresh_key
from autotrader.data.schemas import BAR_VALUES, BARS, BARS_HISTORY, KEY, TIMESTAMP
from autotrader.data.write import WriteConflict, retry_conflicts
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Hold

RESTATEMENT = "restatement"

_VERSION_KEY = ("ts", "known_at", "ingested_at")  # names one observation of a bar
_AS_OF_COLUMNS = (*KEY, "known_at", "ingested_at", "superseded_at", "superseded_by")


class _Span(TypedDict):
    venue: str | None
    instruments: Sequence[str] | None
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class BarsReport:
    """What a load did.

    Attributes
    ----------
    version : int
        Of `bars`, with these rows in it.
    inserted, unchanged, restated : int
        Rows that are new, equal to the stored ones, or different from them.
    held : int
        Rows left out because a hold covers them.
    late : int
        Rows that differ from the stored ones but were fetched before them: kept in history.
    repeated : bool
        True if this commit had been made before: nothing was done.
    """

    version: int
    inserted: int = 0
    unchanged: int = 0
    restated: int = 0
    held: int = 0
    late: int = 0
    repeated: bool = False


class HoldsInForce(Protocol):
    """What loading needs of `Holds`."""

    def in_force(self) -> Sequence[Hold]: ...


class BarStore:
    """The two tables as one store.

    Parameters
    ----------
    lake : Lake
    holds : Holds
        Asked at every load: rows that a hold covers are not stored.

    Attributes
    ----------
    bars, history : LakeTable
        Rows that stand, and rows that do not any more.
    """

    def __init__(self, lake: Lake, holds: HoldsInForce) -> None:
        self.bars = lake.table("bars", BARS)
        self.history = lake.table("bars_history", BARS_HISTORY, row_key=_VERSION_KEY)
        self._holds = holds

    def version(self) -> int | None:
        """The newest version of `bars`; None before the first write."""
        return self.bars.version()

    def pin(self, version: int, owner: str) -> None:
        """Keep a version of `bars` readable for the owner."""
        self.bars.pin(version, owner)

    def high_water_mark(self, instrument: InstrumentId, interval: Interval) -> datetime | None:
        """Open of the newest stored bar; None if there is none. Reads no data file."""
        spans = self.bars.spans(
            venue=instrument.venue.value, instrument=instrument.symbol, interval=interval.value
        )
        return max((last for _, last, _ in spans.values()), default=None)

    # ------------------------------------------------------------------------------- loading

    def upsert(
        self, frames: Iterable[pl.DataFrame], *, commit_key: str, seen_at: datetime | None = None
    ) -> BarsReport:
        """Store bars: new ones, and restatements of stored ones, all in one commit.

        A row that differs from the stored one in a value (`BAR_VALUES`) and was fetched after it
        (`ingested_at`) supersedes it and is known from when it was seen. One that was fetched
        before is recorded in history and does not supersede.

        Parameters
        ----------
        frames : iterable of pl.DataFrame
            Columns of `BARS`, and optionally `seen_at` (market time at which the venue's answer
            arrived, UTC); each of one instrument and interval, sorted by ts, ts unique. Prefer
            something that can be iterated again (see `LakeTable.upsert`).
        commit_key : str
            As `LakeTable.upsert`.
        seen_at : datetime or None
            For frames without that column.

        Raises
        ------
        BadData
            If a frame is not as described, or restates a bar and says nowhere when it was seen.
        """

        def attempt() -> BarsReport:
            load = _Load(self.history, self._holds, commit_key, seen_at)
            done = self.bars.write_once(
                load.allowed(frames),
                commit_key=commit_key,
                resolve=load.resolve,
                before_commit=load.record_first,
            )
            load.record()  # late rows, where no bar changed
            return BarsReport(
                version=done.version,
                inserted=done.inserted,
                unchanged=done.unchanged if done.repeated else done.unchanged - load.late,
                restated=done.replaced,
                held=load.held,
                late=load.late,
                repeated=done.repeated,
            )

        return retry_conflicts(attempt, frames)

    # ------------------------------------------------------------------------------- reading

    def read(
        self,
        instruments: Sequence[InstrumentId],
        *,
        interval: Interval,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        as_of: datetime | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        """Bars with open in [start, end), sorted by venue, instrument and ts.

        Parameters
        ----------
        columns : sequence of str or None
            Of `BARS`; None is all.
        as_of : datetime or None
            Market time, UTC: each bar as it was known then, and only if it was. None is now.
        version : int or None
            Of `bars`; None is the newest.
        """
        wanted = list(BARS if columns is None else columns)
        symbols: dict[str, list[str]] = {}
        for instrument in instruments:
            symbols.setdefault(instrument.venue.value, []).append(instrument.symbol)
        inner = wanted if as_of is None else list(dict.fromkeys([*wanted, *_AS_OF_COLUMNS[:-2]]))

        def frames() -> Iterator[pl.DataFrame]:
            for venue in sorted(symbols):
                span: _Span = {"venue": venue, "instruments": symbols[venue], "start": start, "end": end}
                standing = self.bars.read(**span, interval=interval.value, columns=inner, version=version)
                if as_of is None:
                    yield standing
                else:
                    past = self.history.read(
                        **span, interval=interval.value, columns=[*inner, *_AS_OF_COLUMNS[-2:]]
                    )
                    yield _known_at(standing, past, as_of).select(wanted)

        found = [f for f in frames() if f.height]
        return pl.concat(found) if found else pl.DataFrame(schema={c: BARS[c] for c in wanted})

    # ------------------------------------------------------------------------------ rollback

    def covered(self, hold: Hold) -> dict[InstrumentId, int]:
        """How many standing bars of each instrument the hold covers."""
        rows = self.bars.read(**_span(hold), columns=["venue", "instrument"])
        counts = rows.group_by("venue", "instrument").len().sort("venue", "instrument")
        return {InstrumentId.parse(f"{venue}:{symbol}"): n for venue, symbol, n in counts.iter_rows()}

    def take_back(self, hold: Hold, *, superseded_at: datetime) -> int:
        """Move the bars that the hold covers into history; returns how many.

        The hold must be in force already, or a load under way could bring them back.
        """
        moved = [
            rows.with_columns(
                pl.lit(superseded_at, TIMESTAMP).alias("superseded_at"), superseded_by=pl.lit(hold.id)
            ).select(list(BARS_HISTORY))
            for rows in self.bars.read(**_span(hold)).partition_by("venue", "interval", "instrument")
        ]
        self.history.upsert(moved, commit_key=fresh_key(hold.id))
        return self.bars.delete_range(commit_key=fresh_key(hold.id), **_span(hold))

    def put_back(self, hold: Hold, *, dry_run: bool = False) -> int:
        """Let the bars that the hold took back stand again, exactly as they were.

        They stay in history too, as the record of the rollback; as-of reads see them as if they
        had always stood. A key that has a standing row is left alone, and one that another hold in
        force covers is left to that hold, whose undoing brings it back. Returns how many come back.
        """

        def attempt() -> int:
            in_force = self._holds.in_force()
            free, held = self._missing(hold, [other for other in in_force if other.id != hold.id])
            if dry_run:
                return free.height
            self.history.upsert(
                held.partition_by(PARTITION_BY, maintain_order=True), commit_key=fresh_key(hold.id)
            )
            rule = ReplaceDiffering(self.bars.row_key, ())
            return self.bars.write_once(
                free.select(list(BARS)).partition_by(PARTITION_BY, maintain_order=True),
                commit_key=fresh_key(hold.id),
                resolve=rule,
                before_commit=lambda: _require_in_force(self._holds, in_force),
            ).inserted

        return retry_conflicts(attempt, ())

    def _missing(self, hold: Hold, others: Sequence[Hold]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Of the rows that the hold took back and that do not stand: those that may, and those of others.

        Both as history has them, the latter with the name of the hold that covers them.
        """
        taken = self.history.read(**_span(hold)).filter(superseded_by=hold.id)
        newest = taken.sort(*_VERSION_KEY).unique(KEY, keep="last", maintain_order=True)
        standing = self.bars.read(**_span(hold), columns=KEY)
        free = newest.join(standing, on=KEY, how="anti").sort(KEY)
        held = [free.clear()]
        for other in others:
            held.append(free.filter(_covers(other)).with_columns(superseded_by=pl.lit(other.id)))
            free = free.filter(~_covers(other))
        return free, pl.concat(held).sort(KEY)


def superseded_at(hold: Hold, clock: MarketClock) -> datetime:
    """Market time from which rows taken back by the hold no longer stood.

    Live that is when it was placed. In a replay market time is another, and holds do not record
    it: it is taken from the clock.
    """
    return clock.now() if clock.is_replay else hold.placed_at


class _Load:
    """The rule of one attempt at a load, and what it finds for history."""

    def __init__(
        self, history: LakeTable, holds: HoldsInForce, commit_key: str, seen_at: datetime | None
    ) -> None:
        self._history = history
        self._holds = holds
        self._key = commit_key
        self._seen_at = seen_at
        self._in_force: Sequence[Hold] = ()
        self._past: list[pl.DataFrame] = []
        self.held = 0
        self.late = 0

    def allowed(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The frames without rows that a hold covers."""
        self._in_force = self._holds.in_force()
        for frame in frames:
            kept = frame
            for hold in self._in_force:
                kept = kept.filter(~_covers(hold))
            self.held += frame.height - kept.height
            yield kept

    def resolve(
        self, stored: pl.DataFrame, incoming: pl.DataFrame, partition: Mapping[str, str]
    ) -> Resolution:
        found = compare(stored, incoming, key=("ts",), values=BAR_VALUES)
        if found.differing.is_empty():
            return Resolution(found.fresh, found.differing, found.equal)
        self._require_seen_at(found.differing)
        is_late = (found.differing["ingested_at"] < found.superseded["ingested_at"]).fill_null(value=False)
        before, after = found.superseded.filter(~is_late), found.differing.filter(~is_late)
        after = after.with_columns(known_at=pl.max_horizontal("known_at", self._seen(), before["known_at"]))
        self._remember(before, partition, superseded_at=after["known_at"])
        self._remember_late(found.differing.filter(is_late), found.superseded.filter(is_late), partition)
        late = int(is_late.sum())
        self.late += late
        return Resolution(found.fresh, after, found.equal + late)

    def record_first(self) -> None:
        """Commit what was found for history, before bars; plan again if holds changed meanwhile."""
        _require_in_force(self._holds, self._in_force)
        self.record()

    def record(self) -> None:
        """Commit what was found for history, once."""
        past, self._past = self._past, []
        if past:
            rows = pl.concat(past).sort(*_VERSION_KEY).unique([*KEY, *_VERSION_KEY[1:]], maintain_order=True)
            frames = rows.partition_by("venue", "interval", "instrument", maintain_order=True)
            self._history.upsert(frames, commit_key=fresh_key(self._key))

    def _require_seen_at(self, rows: pl.DataFrame) -> None:
        if self._seen_at is None and "seen_at" not in rows.columns:
            raise BadData(
                "expected seen_at for bars that restate stored ones, was absent: say when they were seen"
            )

    def _seen(self) -> pl.Expr:
        return pl.col("seen_at") if self._seen_at is None else pl.lit(self._seen_at, TIMESTAMP)

    def _remember(
        self, rows: pl.DataFrame, partition: Mapping[str, str], *, superseded_at: pl.Series
    ) -> None:
        if rows.height:
            self._past.append(
                rows.with_columns(
                    *(pl.lit(v).alias(c) for c, v in partition.items()),
                    superseded_at.alias("superseded_at"),
                    superseded_by=pl.lit(RESTATEMENT),
                ).select(list(BARS_HISTORY))
            )

    def _remember_late(
        self, late: pl.DataFrame, standing: pl.DataFrame, partition: Mapping[str, str]
    ) -> None:
        """Keep observations that arrive after their successors, unless history has them already."""
        if late.is_empty():
            return
        recorded = self._history.read(
            venue=partition["venue"],
            instruments=[partition["instrument"]],
            interval=partition["interval"],
            start=late["ts"].min(),  # type: ignore[arg-type]
            columns=["ts", "ingested_at"],
        )
        limit = standing["known_at"]
        late = late.with_columns(
            known_at=pl.max_horizontal("known_at", pl.min_horizontal(self._seen(), limit)), _limit=limit
        ).join(recorded, on=["ts", "ingested_at"], how="anti")
        self._remember(late, partition, superseded_at=late["_limit"])


def _known_at(standing: pl.DataFrame, past: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Of each key, the row that was known at the instant, if it stood then."""
    stands = standing.with_columns(
        pl.lit(None, TIMESTAMP).alias("superseded_at"), pl.lit(None, pl.String).alias("superseded_by")
    )
    taken_back = (pl.col("superseded_by") != RESTATEMENT) & (pl.col("superseded_at") <= as_of)
    return (
        pl.concat([past, stands.select(past.columns)])
        .filter(pl.col("known_at") <= as_of)
        .sort("known_at", "ingested_at", maintain_order=True)
        .unique(KEY, keep="last", maintain_order=True)
        .filter(~taken_back.fill_null(value=False))
        .sort("venue", "instrument", "interval", "ts")
    )


def _require_in_force(holds: HoldsInForce, asked: Sequence[Hold]) -> None:
    """Plan again if a hold was placed or ended since they were asked."""
    if {h.id for h in holds.in_force()} != {h.id for h in asked}:
        raise WriteConflict


def _covers(hold: Hold) -> pl.Expr:
    inside = (pl.col("ts") >= hold.start) & (pl.col("ts") < hold.end)
    if hold.instrument is None:
        return inside
    named = (pl.col("venue") == hold.instrument.venue.value) & (
        pl.col("instrument") == hold.instrument.symbol
    )
    return inside & named


def _span(hold: Hold) -> _Span:
    if hold.instrument is None:
        return {"venue": None, "instruments": None, "start": hold.start, "end": hold.end}
    venue, symbol = hold.instrument.venue.value, hold.instrument.symbol
    return {"venue": venue, "instruments": [symbol], "start": hold.start, "end": hold.end}
