"""Predictions that were served: one table a feature set, one row a predicted bar.

A row is named by request, row of the request, and colour: appending it again changes nothing, and
the first of two that differ stays. A shadow answer of the other colour is a row of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from autotrader.data.lake import PARTITION_BY, Lake, LakeTable, Schema, UpsertReport
from autotrader.data.schemas import PREDICTIONS
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.places import Place

PREFIX = "predictions_"

_PARTITION_BY = (*PARTITION_BY, "color")
_ROW_KEY = ("ts", "request_id", "row")
_ORDER = ("venue", "instrument", "ts", "received_at", "request_id", "row", "color")


class PredictionStore:
    """Served predictions of all instruments, versions and colours.

    Parameters
    ----------
    lake : Lake
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def beside(self, name: str) -> Place:
        """A folder of the lake for files that are of no table."""
        return self._lake.root / name

    def append(self, *frames: pl.DataFrame) -> UpsertReport:
        """Store rows that are not there yet; in one commit for each feature set.

        Parameters
        ----------
        *frames : pl.DataFrame
            Columns of `PREDICTIONS`, and one float32 column for each feature; each frame of one
            feature set, in any order, of any instruments.

        Returns
        -------
        UpsertReport
            Rows in all; the version is that of the last table.

        Raises
        ------
        BadData
            If a frame has not the columns, or not those of the rows of its feature set before.
        Rejected, DependencyError, Unreachable
            As `LakeTable.upsert`.
        """
        by_set: dict[str, list[pl.DataFrame]] = {}
        for frame in frames:
            if frame.height:
                by_set.setdefault(_feature_set(frame), []).append(frame)
        inserted = unchanged = version = 0
        for feature_set, rows in sorted(by_set.items()):
            table = self._table_for(feature_set, rows)
            parts = (
                pl.concat(rows)
                .select(list(table.schema))
                .sort(_ROW_KEY, maintain_order=True)
                .unique([*_PARTITION_BY, *_ROW_KEY], keep="first", maintain_order=True)
                .partition_by(_PARTITION_BY, maintain_order=True)
            )
            # Idempotent by its rows, whatever it is called.
            done = table.upsert(parts, commit_key=f"append/{uuid.uuid4().hex}", values=())
            inserted, unchanged, version = (
                inserted + done.inserted,
                unchanged + done.unchanged,
                done.version,
            )
        return UpsertReport(version, inserted=inserted, unchanged=unchanged)

    def read(
        self,
        *,
        start: datetime,
        end: datetime,
        instruments: Sequence[InstrumentId] | None = None,
        version: str | None = None,
        color: str | None = None,
        replayed: bool | None = None,
        feature_set: str | None = None,
    ) -> pl.DataFrame:
        """Predictions for bars with open in [start, end).

        Parameters
        ----------
        start, end : datetime
            Market time, UTC.
        instruments : sequence of InstrumentId or None
            None is all; so for what follows.
        version : str or None
            Of the model, semver.
        color : str or None
            `blue` or `green`.
        replayed : bool or None
            True: those that only compared versions; False: those that a caller asked to act on.
        feature_set : str or None
            None is all: with more than one, a feature that a row's set has not is null.

        Returns
        -------
        pl.DataFrame
            Columns of `PREDICTIONS` and one float32 column for each feature, sorted by venue,
            instrument and ts.
        """
        tables = self._tables() if feature_set is None else [self._table(feature_set)]
        frames = [
            _kept(f, version, replayed) for t in tables for f in _read(t, start, end, instruments, color)
        ]
        if not frames:
            schema = tables[0].schema if len(tables) == 1 else PREDICTIONS
            return pl.DataFrame(schema=schema)
        return pl.concat(frames, how="diagonal").sort(_ORDER)

    def _tables(self) -> list[LakeTable]:
        return [self._opened(name) for name in self._lake.names() if name.startswith(PREFIX)]

    def _table(self, feature_set: str) -> LakeTable:
        name = _table_name(feature_set)
        return self._opened(name) if name in self._lake.names() else self._made(name, PREDICTIONS)

    def _table_for(self, feature_set: str, frames: Sequence[pl.DataFrame]) -> LakeTable:
        name = _table_name(feature_set)
        schema = self._opened(name).schema if name in self._lake.names() else dict(frames[0].schema)
        for frame in frames:
            if dict(frame.schema) != schema:
                differing = sorted(set(frame.schema.items()) ^ set(schema.items()), key=str)[:6]
                named = ", ".join(f"{c} {t}" for c, t in differing) or "another order"
                raise BadData(f"expected the columns of {name}, was different in: {named}")
        return self._made(name, schema)

    def _opened(self, name: str) -> LakeTable:
        return self._made(name, self._lake.open(name).schema)

    def _made(self, name: str, schema: Schema) -> LakeTable:
        return self._lake.table(name, schema, partition_by=_PARTITION_BY, row_key=_ROW_KEY)


def _table_name(feature_set: str) -> str:
    """`predictions_balanced_v1` for `balanced-v1`."""
    return PREFIX + feature_set.replace("-", "_")


def _feature_set(frame: pl.DataFrame) -> str:
    wrong = [f"{c} {frame.schema.get(c)}" for c, t in PREDICTIONS.items() if frame.schema.get(c) != t]
    wrong += [f"{c} {t}" for c, t in frame.schema.items() if c not in PREDICTIONS and t != pl.Float32]
    if wrong:
        raise BadData(f"expected columns of predictions and float32 features, was {', '.join(wrong[:6])}")
    found = frame["feature_set"].unique().to_list()
    if len(found) != 1 or not found[0]:
        raise BadData(f"expected predictions of one feature set in a frame, was {found}")
    return str(found[0])


def _read(
    table: LakeTable,
    start: datetime,
    end: datetime,
    instruments: Sequence[InstrumentId] | None,
    color: str | None,
) -> list[pl.DataFrame]:
    where = None if color is None else {"color": color}
    if instruments is None:
        return [table.read(start=start, end=end, where=where)]
    symbols: dict[str, list[str]] = {}
    for instrument in instruments:
        symbols.setdefault(instrument.venue.value, []).append(instrument.symbol)
    return [
        table.read(venue=venue, instruments=named, start=start, end=end, where=where)
        for venue, named in symbols.items()
    ]


def _kept(rows: pl.DataFrame, version: str | None, replayed: bool | None) -> pl.DataFrame:
    if version is not None:
        rows = rows.filter(version=version)
    return rows if replayed is None else rows.filter(replayed=replayed)
