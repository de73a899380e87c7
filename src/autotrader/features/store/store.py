"""The feature store: writes, and reads that see only what was known.

Three tables for each feature set: the rows that stand, those that a recomputation replaced (after a
bar was restated, say), and a record of the bars that they were derived from. Each row carries
`known_at`: the market time from which all bars in its lookback were known. An as-of read takes, of
each key, the row known last by that instant.

History is committed before the rows that stand. A kill between the two leaves rows in both, which
reads as if they stood, and the next write of the same rows makes both right.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from autotrader.data.changes import Resolution, compare
from autotrader.data.freshness import freshness
from autotrader.data.lake import Lake, LakeTable, UpsertReport
from autotrader.data.schemas import KEY, TIMESTAMP
from autotrader.data.write import retry_conflicts
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId
from autotrader.features.definitions import BALANCED, FeatureDefinition, FeatureSet
from autotrader.features.store import layout
from autotrader.features.store.as_of import as_of_join
from autotrader.features.store.statistics import ReferenceStatistics, describe
from autotrader.ports.clock import MarketClock

_FRESHNESS_WINDOW = timedelta(days=7)
_FRESHNESS: dict[str, pl.DataType | type[pl.DataType]] = {
    "venue": pl.String,
    "instrument": pl.String,
    "feature": pl.String,
    "newest": TIMESTAMP,
    "behind_seconds": pl.Float64,
    "grade": pl.String,
}


@dataclass(frozen=True, slots=True)
class StoreMetadata:
    """What the store holds.

    Attributes
    ----------
    feature_set_version, table : str
    version : int or None
        Newest version of the table; None before the first write.
    features : tuple of FeatureDefinition
    rows : Mapping[str, int]
        `venue:symbol interval` to number of rows.
    """

    feature_set_version: str
    table: str
    version: int | None
    features: tuple[FeatureDefinition, ...]
    rows: Mapping[str, int]


class FeatureStore:
    """Features of all instruments, of one feature set.

    Parameters
    ----------
    lake : Lake
    clock : MarketClock
        Freshness is measured against it.
    feature_set : FeatureSet

    Attributes
    ----------
    rows, history : LakeTable
        Rows that stand, and rows that were replaced.
    derived : LakeTable
        Which bars they were derived from; see `autotrader.features.store.derivation`.
    """

    def __init__(self, lake: Lake, clock: MarketClock, feature_set: FeatureSet = BALANCED) -> None:
        name = layout.table_name(feature_set)
        self.feature_set = feature_set
        self.rows: LakeTable = lake.table(name, layout.schema(feature_set))
        self.history: LakeTable = lake.table(
            f"{name}_history", layout.history_schema(feature_set), row_key=("ts", "known_at")
        )
        self.derived: LakeTable = lake.table(f"{name}_derived", layout.derived_schema())
        self._clock = clock

    def version(self) -> int | None:
        """The newest version of the table; None before the first write."""
        return self.rows.version()

    def pin(self, version: int, owner: str) -> None:
        """Keep a version of the table readable for the owner."""
        self.rows.pin(version, owner)

    # ------------------------------------------------------------------------------- writing

    def write(self, frames: Iterable[pl.DataFrame], *, commit_key: str) -> UpsertReport:
        """Store rows in one commit; rows whose features differ replace those stored.

        Parameters
        ----------
        frames : iterable of pl.DataFrame
            Columns of `layout.schema`, each of one instrument and interval, sorted by ts; held one
            at a time. Prefer something that can be iterated again (see `LakeTable.upsert`).
        commit_key : str
            As `LakeTable.upsert`.

        Raises
        ------
        BadData
            If a frame is not as described.
        Rejected, DependencyError, Unreachable
            As `LakeTable.upsert`.
        """

        def attempt() -> UpsertReport:
            replaced = _Replaced(self.feature_set.names, self._clock.now())
            return self.rows.write_once(
                frames,
                commit_key=commit_key,
                resolve=replaced.resolve,
                before_commit=lambda: self._record(replaced.rows, commit_key),
            )

        return retry_conflicts(attempt, frames)

    def _record(self, replaced: Sequence[pl.DataFrame], commit_key: str) -> None:
        if replaced:
            # Rows name themselves by ts and known_at, so recording them twice is recording them once.
            self.history.upsert(replaced, commit_key=f"{commit_key}/{uuid.uuid4().hex}")

    def remove(self, instrument: InstrumentId, *, start: datetime, end: datetime, commit_key: str) -> int:
        """Take out rows with ts in [start, end), as when their bars were taken back; returns how many."""
        return self.rows.delete_range(
            venue=instrument.venue.value,
            instruments=[instrument.symbol],
            start=start,
            end=end,
            commit_key=commit_key,
        )

    # ------------------------------------------------------------------------------- reading

    def load_features(
        self,
        instruments: Sequence[InstrumentId],
        *,
        interval: Interval,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        """Rows that stand, with ts in [start, end), sorted by venue, instrument and ts.

        Parameters
        ----------
        columns : sequence of str or None
            Of `layout.schema`; None is all.
        version : int or None
            Of the table; None is the newest.
        """
        return self._read(self.rows, instruments, interval, start, end, columns=columns, version=version)

    def latest(self, instruments: Sequence[InstrumentId], *, interval: Interval) -> pl.DataFrame:
        """The newest row of each instrument that has one."""
        newest = [
            self.load_features([instrument], interval=interval, start=last)
            for instrument in sorted(instruments)
            if (last := self.high_water_mark(instrument, interval)) is not None
        ]
        return pl.concat(newest) if newest else pl.DataFrame(schema=self.rows.schema)

    def high_water_mark(self, instrument: InstrumentId, interval: Interval) -> datetime | None:
        """ts of the newest row; None if there is none. Reads no data file."""
        spans = self.rows.spans(
            venue=instrument.venue.value, instrument=instrument.symbol, interval=interval.value
        )
        return max((last for _, last, _ in spans.values()), default=None)

    def training_frame(
        self,
        instruments: Sequence[InstrumentId],
        *,
        interval: Interval,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime,
        version: int | None = None,
    ) -> pl.DataFrame:
        """Rows with ts in [start, end) as they were known at an instant, one a bar.

        Sorted by venue, instrument and ts; columns of `layout.schema`. Rows that warm up are there,
        with NaN.

        Parameters
        ----------
        as_of : datetime
            Market time, UTC. Of each bar the features known last by then; a bar of which none were
            known is not there.
        version : int or None
            Of the table of standing rows; None is the newest.
        """
        standing = self.load_features(
            instruments, interval=interval, start=start, end=end, version=version
        ).filter(pl.col("known_at") <= as_of)
        past = self._read(self.history, instruments, interval, start, end, columns=standing.columns).filter(
            pl.col("known_at") <= as_of
        )
        if past.is_empty():
            return standing
        return _in_order([past, standing]).unique(KEY, keep="last", maintain_order=True)

    def as_of_join(
        self,
        labels: pl.DataFrame,
        *,
        interval: Interval,
        columns: Sequence[str] | None = None,
        tolerance: timedelta | None = None,
    ) -> pl.DataFrame:
        """Put beside each label the newest features that were known at its instant.

        Parameters
        ----------
        labels : pl.DataFrame
            `venue`, `instrument`, `ts` (the instant of the decision, UTC) and whatever else.
        columns : sequence of str or None
            Features; None is all.
        tolerance : timedelta or None
            How old a row may be, from its ts; None is no limit.

        Returns
        -------
        pl.DataFrame
            See `autotrader.features.store.as_of.as_of_join`.
        """
        wanted = ["venue", "instrument", "ts", "known_at", *(columns or self.feature_set.names)]
        named = labels.select("venue", "instrument").unique().iter_rows()
        instruments = sorted(InstrumentId.parse(f"{venue}:{symbol}") for venue, symbol in named)
        standing = self.load_features(instruments, interval=interval, columns=wanted)
        past = self._read(self.history, instruments, interval, None, None, columns=wanted)
        rows = _in_order([past, standing]) if past.height else standing
        return as_of_join(labels, rows, tolerance=tolerance)

    # -------------------------------------------------------------------------- descriptions

    def metadata(self) -> StoreMetadata:
        """What the store holds, without reading a data file."""
        spans = self.rows.spans()
        place = {c: self.rows.partition_by.index(c) for c in ("venue", "instrument", "interval")}
        rows = {
            f"{p[place['venue']]}:{p[place['instrument']]} {p[place['interval']]}": count
            for p, (_, _, count) in sorted(spans.items())
        }
        return StoreMetadata(
            self.feature_set.version, self.rows.name, self.version(), self.feature_set.features, rows
        )

    def reference_statistics(
        self,
        instruments: Sequence[InstrumentId],
        *,
        interval: Interval,
        start: datetime,
        end: datetime,
        as_of: datetime,
        bins: int = 10,
    ) -> ReferenceStatistics:
        """What the features look like over a window, for later comparison; see `describe`."""
        frame = self.training_frame(instruments, interval=interval, start=start, end=end, as_of=as_of)
        return describe(frame, self.feature_set, bins=bins)

    def freshness(self, instruments: Sequence[InstrumentId], *, interval: Interval) -> pl.DataFrame:
        """How far each feature of each instrument is behind the market.

        Returns
        -------
        pl.DataFrame
            `venue, instrument, feature, newest` (ts of the newest value that is not NaN, within a
            week), `behind_seconds` (null if there is none), `grade`. Features that the venue cannot
            have are left out.
        """
        now = self._clock.now()
        found: list[dict[str, object]] = []
        for instrument in sorted(instruments):
            recent = self.load_features([instrument], interval=interval, start=now - _FRESHNESS_WINDOW)
            offered = [f.name for f in self.feature_set.features if instrument.venue in f.venues]
            newest = recent.select(
                pl.col("ts").filter(pl.col(name).is_not_nan()).max().alias(name) for name in offered
            ).row(0)
            for name, ts in zip(offered, newest, strict=True):
                state = freshness(instrument.venue, interval, ts, now)
                found.append(
                    {
                        "venue": instrument.venue.value,
                        "instrument": instrument.symbol,
                        "feature": name,
                        "newest": state.newest,
                        "behind_seconds": state.behind.total_seconds() if state.behind is not None else None,
                        "grade": state.grade.value,
                    }
                )
        return pl.DataFrame(found, schema=_FRESHNESS)

    def _read(
        self,
        table: LakeTable,
        instruments: Sequence[InstrumentId],
        interval: Interval,
        start: datetime | None,
        end: datetime | None,
        *,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        symbols: dict[str, list[str]] = {}
        for instrument in instruments:
            symbols.setdefault(instrument.venue.value, []).append(instrument.symbol)

        def frames() -> Iterator[pl.DataFrame]:
            for venue in sorted(symbols):
                yield table.read(
                    venue=venue,
                    instruments=symbols[venue],
                    interval=interval.value,
                    start=start,
                    end=end,
                    columns=columns,
                    version=version,
                )

        found = [f for f in frames() if f.height]
        wanted = list(table.schema if columns is None else columns)
        return pl.concat(found) if found else pl.DataFrame(schema={c: table.schema[c] for c in wanted})


def _in_order(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All versions of all rows; of those known at the same time, the later frame's come later."""
    return pl.concat(frames).sort("venue", "instrument", "ts", "known_at", maintain_order=True)


class _Replaced:
    """The rule of a write: rows whose features differ take the place of those stored, which it keeps."""

    def __init__(self, names: tuple[str, ...], now: datetime) -> None:
        self._names = names
        self._now = pl.lit(now, TIMESTAMP)
        self.rows: list[pl.DataFrame] = []

    def resolve(
        self, stored: pl.DataFrame, incoming: pl.DataFrame, partition: Mapping[str, str]
    ) -> Resolution:
        found = compare(stored, incoming, key=("ts",), values=self._names)
        if found.differing.is_empty():
            return Resolution(found.fresh, found.differing, found.equal)
        before = found.superseded["known_at"]
        # A row that differs though no bar became known since (bars were taken back, or a mistake in
        # a formula was corrected) was not known before it was recomputed.
        differing = found.differing.with_columns(
            known_at=pl.when(pl.col("known_at") > before)
            .then("known_at")
            .otherwise(pl.max_horizontal(before, self._now))
        )
        self.rows.append(
            found.superseded.with_columns(
                *(pl.lit(v).alias(c) for c, v in partition.items()),
                differing["known_at"].alias("superseded_at"),
            )
        )
        return Resolution(found.fresh, differing, found.equal)
