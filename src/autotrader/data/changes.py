"""What an upsert changes: incoming rows told apart by what is stored under their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl


@dataclass(frozen=True, slots=True)
class Resolution:
    """What becomes of incoming rows.

    Attributes
    ----------
    inserted : pl.DataFrame
        Rows whose keys are not stored.
    replacing : pl.DataFrame
        Rows that take the place of stored ones of the same keys.
    unchanged : int
        Number of the others: nothing is written for them.
    """

    inserted: pl.DataFrame
    replacing: pl.DataFrame
    unchanged: int


class Resolve(Protocol):
    """Decides what becomes of the rows of one partition."""

    def __call__(
        self, stored: pl.DataFrame, incoming: pl.DataFrame, partition: Mapping[str, str]
    ) -> Resolution:
        """Tell incoming rows apart.

        Parameters
        ----------
        stored : pl.DataFrame
            All stored rows in the span of the incoming ones' ts, without the partition columns.
        incoming : pl.DataFrame
            Sorted by ts.
        partition : Mapping[str, str]
            Partition column to value.
        """
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """Incoming rows beside the stored ones of the same keys.

    Attributes
    ----------
    fresh : pl.DataFrame
        Incoming rows whose keys are not stored.
    differing : pl.DataFrame
        Incoming rows that differ from the stored ones in a compared column.
    superseded : pl.DataFrame
        Those stored ones, row by row beside `differing`.
    equal : int
        Number of incoming rows that do not differ.
    """

    fresh: pl.DataFrame
    differing: pl.DataFrame
    superseded: pl.DataFrame
    equal: int


def compare(
    stored: pl.DataFrame, incoming: pl.DataFrame, *, key: Sequence[str], values: Sequence[str]
) -> Comparison:
    """Compare by key; NaN equals NaN and null equals null."""
    nothing = incoming.clear()
    if stored.is_empty():
        return Comparison(incoming, nothing, stored, 0)
    matches = incoming.select(pl.int_range(pl.len()).alias("_incoming"), *key).join(
        stored.select(pl.int_range(pl.len()).alias("_stored"), *key),
        on=list(key),
        how="left",
        maintain_order="left",
        nulls_equal=True,
    )["_stored"]
    known = matches.is_not_null()
    fresh = incoming.filter(~known)
    if fresh.height == incoming.height:
        return Comparison(fresh, nothing, stored.clear(), 0)
    before = stored[matches.drop_nulls()]
    after = incoming.filter(known)
    if not values:
        return Comparison(fresh, nothing, stored.clear(), after.height)
    differs = pl.Series([False]).new_from_index(0, after.height)
    for column in values:
        differs |= after[column].ne_missing(before[column])
    return Comparison(fresh, after.filter(differs), before.filter(differs), int((~differs).sum()))


@dataclass(frozen=True, slots=True)
class ReplaceDiffering:
    """The plain rule: a row that differs from the stored one takes its place.

    Attributes
    ----------
    key : tuple of str
        Columns that name a row within its partition.
    values : tuple of str
        Columns whose difference counts.
    """

    key: tuple[str, ...]
    values: tuple[str, ...]

    def __call__(
        self,
        stored: pl.DataFrame,
        incoming: pl.DataFrame,
        partition: Mapping[str, str],  # noqa: ARG002 - the protocol's
    ) -> Resolution:
        found = compare(stored, incoming, key=self.key, values=self.values)
        return Resolution(found.fresh, found.differing, found.equal)
