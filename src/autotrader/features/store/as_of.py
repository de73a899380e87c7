"""What was known at an instant: matching labels to the newest feature row that had been known then."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.data.schemas import TIMESTAMP
from autotrader.domain.errors import BadData
from autotrader.features.compiled import entry_point

SERIES = ("venue", "instrument")


def as_of_join(
    labels: pl.DataFrame, rows: pl.DataFrame, *, tolerance: timedelta | None = None
) -> pl.DataFrame:
    """Put beside each label the newest feature row that was known at its instant.

    Parameters
    ----------
    labels : pl.DataFrame
        `venue`, `instrument`, `ts` (the instant of the decision, UTC) and whatever else; in any
        order, fastest in order of time within each instrument.
    rows : pl.DataFrame
        `venue`, `instrument`, `ts` (bar open), `known_at` and features, sorted by these four; rows
        of one bar that differ in `known_at` are its versions. Of one interval.
    tolerance : timedelta or None
        A row whose bar opened longer before the instant is too old to use; None is no limit.

    Returns
    -------
    pl.DataFrame
        The labels' rows and columns in their order, then `feature_ts`, `known_at` and the features;
        null where no row was known.

    Raises
    ------
    BadData
        If `rows` is not sorted within an instrument.
    """
    limit = np.iinfo(np.int64).max if tolerance is None else tolerance // timedelta(microseconds=1)
    matches = np.full(labels.height, -1, np.int64)
    spans = _spans(rows)
    instants = labels["ts"].cast(TIMESTAMP).to_physical().to_numpy()
    opens = rows["ts"].to_physical().to_numpy()
    known = rows["known_at"].to_physical().to_numpy()
    for begin, end, venue, instrument in _runs(labels):
        first, last = spans.get((venue, instrument), (0, 0))
        if first == last:
            continue
        if not _match(instants[begin:end], opens[first:last], known[first:last], limit, matches[begin:end]):
            raise BadData(f"expected feature rows of {venue}:{instrument} sorted by ts, was not: sort them")
        found = matches[begin:end]
        found[found >= 0] += first
    features = rows.drop(SERIES).rename({"ts": "feature_ts"})
    if (matches >= 0).all():
        found_rows = features[matches]
    else:
        index = pl.Series(matches).replace(-1, None)
        found_rows = features.select(pl.all().gather(index))
    return pl.concat([labels, found_rows], how="horizontal")


def _spans(rows: pl.DataFrame) -> dict[tuple[str, str], tuple[int, int]]:
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    for begin, end, venue, instrument in _runs(rows):
        if (venue, instrument) in spans:
            raise BadData(f"expected feature rows sorted by instrument, {venue}:{instrument} was in two runs")
        spans[venue, instrument] = (begin, end)
    return spans


def _runs(frame: pl.DataFrame) -> list[tuple[int, int, str, str]]:
    """Runs of rows of one instrument: begin, end, venue, symbol."""
    runs = (
        frame.select(*SERIES, series=pl.struct(SERIES).rle_id())
        .with_row_index("begin")
        .unique("series", keep="first", maintain_order=True)
    )
    begins = [*runs["begin"].to_list(), frame.height]
    return [
        (begins[k], begins[k + 1], venue, instrument)
        for k, (venue, instrument) in enumerate(runs.select(SERIES).iter_rows())
    ]


@entry_point
def _match(
    instants: NDArray[np.int64],
    opens: NDArray[np.int64],
    known: NDArray[np.int64],
    limit: int,
    matches: NDArray[np.int64],
) -> bool:
    """For each instant the last row known by then, -1 if none; False if opens are not sorted."""
    for i in range(1, opens.size):
        if opens[i] < opens[i - 1]:
            return False
    after = 0  # rows before it opened at or before the instant
    for i in range(instants.size):
        if i > 0 and instants[i] < instants[i - 1]:
            after = np.searchsorted(opens, instants[i], side="right")
        while after < opens.size and opens[after] <= instants[i]:
            after += 1
        row = after - 1
        # A bar is known some time after it opened, a restated one much later: step back over those.
        while row >= 0 and known[row] > instants[i]:
            row -= 1
        matches[i] = row if row >= 0 and instants[i] - opens[row] <= limit else -1
    return True
