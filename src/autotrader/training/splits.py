"""Splits of labelled rows by time, in which no training label reaches into a test.

Rows are sorted by `ts`; several instruments may share an instant. A row's label lives from its
bar's open `ts` until `end_ts`, the instant at which it is known.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Integers, Times
from autotrader.execution.clock import microseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Rows to learn from, and rows to be judged on.

    Attributes
    ----------
    train, test : int64[k]
        Row numbers, increasing; both hold at least one.
    train_start, train_end : datetime
        Walk-forward: training bars open at or after the first, and training labels are known by
        the second. K-fold: the same of all training rows, on both sides of the test. UTC.
    test_start, test_end : datetime
        Test bars open in [test_start, test_end). UTC.
    """

    train: Integers
    test: Integers
    train_start: datetime
    train_end: datetime
    test_start: datetime
    test_end: datetime


def walk_forward(
    ts: Times,
    end_ts: Times,
    *,
    train: timedelta,
    test: timedelta,
    evaluation: timedelta,
    embargo: timedelta,
) -> list[Fold]:
    """Train on the window before each test block, then move on by a block.

    The test blocks tile the last `evaluation` of the rows without overlap (the newest may be
    short), or as much of it as leaves a whole training window before the first. The rows end one
    step of their clock after the last of them opens.

    Parameters
    ----------
    ts : datetime64[n]
        Bar opens, sorted; not unique where there are several instruments.
    end_ts : datetime64[n]
        When each row's label is known, later than its `ts`.
    train, test, evaluation : timedelta
        Above zero: training window of each fold, test block, span of all blocks.
    embargo : timedelta
        Training labels are known at least this long before the test block starts; 0 or more.

    Returns
    -------
    list of Fold
        Oldest first. Blocks without a row to test, or to learn from, make no fold.

    Raises
    ------
    BadData
        If rows are not sorted, a label ends before it begins, a parameter is out of range, or
        there is no room for a single fold.
    """
    opens, ends = _instants(ts, end_ts)
    spans = {"train": train, "test": test, "evaluation": evaluation}
    if min(spans.values()) <= timedelta(0) or embargo < timedelta(0):
        raise BadData(f"expected spans above zero and no negative embargo, were {spans} and {embargo}")
    train_us, test_us, embargo_us = train // _US, test // _US, embargo // _US
    if len(opens) == 0:
        raise BadData("expected labelled rows, were none")
    steps = np.diff(opens)
    first, stop = int(opens[0]), int(opens[-1]) + int(np.min(steps[steps > 0], initial=test_us))
    begin = max(first + train_us, stop - evaluation // _US)
    folds = []
    for test_start in range(begin, stop, test_us):
        test_end = min(test_start + test_us, stop)
        window = np.arange(np.searchsorted(opens, test_start - train_us), np.searchsorted(opens, test_start))
        train_rows = window[ends[window] <= test_start - embargo_us]
        test_rows = np.arange(np.searchsorted(opens, test_start), np.searchsorted(opens, test_end))
        if len(train_rows) and len(test_rows):
            bounds = (test_start - train_us, test_start - embargo_us, test_start, test_end)
            folds.append(Fold(train_rows, test_rows, *(_utc(b) for b in bounds)))
    if not folds:
        have = timedelta(microseconds=stop - first)
        raise BadData(
            f"expected more than {train} of labelled rows (one training window), were {have}: "
            "ingest more history or shorten the training window"
        )
    return folds


def purged_k_fold(ts: Times, end_ts: Times, *, n_splits: int, embargo: timedelta) -> list[Fold]:
    """Each block of time is the test once; training rows are those whose labels do not touch it.

    A training row before the block has a label that is known by the block's start. One after the
    block opens no earlier than `embargo` after the last test label is known (Lopez de Prado 2018,
    chapter 7: "purged k-fold"). Rows of one instant stay together.

    Parameters
    ----------
    ts, end_ts
        As in `walk_forward`.
    n_splits : int
        2 or more; blocks hold about as many rows each.
    embargo : timedelta
        0 or more.

    Returns
    -------
    list of Fold
        Oldest test first.

    Raises
    ------
    BadData
        As `walk_forward`; also if a block is left with nothing to learn from.
    """
    opens, ends = _instants(ts, end_ts)
    if n_splits < 2 or embargo < timedelta(0):
        raise BadData(f"expected 2 or more splits and no negative embargo, were {n_splits} and {embargo}")
    if len(opens) < n_splits:
        raise BadData(f"expected at least {n_splits} labelled rows, were {len(opens)}")
    cuts = np.searchsorted(opens, opens[[len(opens) * k // n_splits for k in range(n_splits)]])
    edges = [*(int(c) for c in cuts), len(opens)]
    folds = []
    for begin, end in itertools.pairwise(edges):
        if begin == end:
            raise BadData(f"expected rows of at least {n_splits} instants, were fewer")
        test_start = int(opens[begin])
        resumes = int(np.max(ends[begin:end])) + embargo // _US
        before = np.flatnonzero(ends[:begin] <= test_start)
        after = end + np.flatnonzero(opens[end:] >= resumes)
        train_rows = np.concatenate((before, after))
        if len(train_rows) == 0:
            raise BadData(
                f"expected training rows clear of the test from {_utc(test_start)}, were none: "
                "use fewer splits, a shorter embargo or more history"
            )
        test_end = int(opens[end - 1]) + 1
        bounds = (opens[train_rows[0]], np.max(ends[train_rows]), test_start, test_end)
        folds.append(Fold(train_rows, np.arange(begin, end), *(_utc(int(b)) for b in bounds)))
    return folds


def cscv_blocks(n_periods: int, n_blocks: int) -> list[slice]:
    """Consecutive blocks of equal length; periods that do not fill one are left out, the oldest.

    Raises
    ------
    BadData
        If the number of blocks is odd or below 2, or a block would hold fewer than two periods.
    """
    length = n_periods // n_blocks if n_blocks > 0 else 0
    if n_blocks < 2 or n_blocks % 2 or length < 2:
        raise BadData(
            f"expected an even number of blocks of 2 or more periods each, were {n_blocks} blocks "
            f"for {n_periods} periods"
        )
    offset = n_periods - length * n_blocks
    return [slice(offset + k * length, offset + (k + 1) * length) for k in range(n_blocks)]


def _instants(ts: Times, end_ts: Times) -> tuple[Integers, Integers]:
    if len(ts) != len(end_ts):
        raise BadData(f"expected a label end for each of {len(ts)} rows, were {len(end_ts)}")
    if np.isnat(ts).any() or np.isnat(end_ts).any():
        raise BadData("expected an instant in every row, was NaT: drop rows without a label")
    opens, ends = microseconds(ts), microseconds(end_ts)
    if np.any(opens[1:] < opens[:-1]):
        raise BadData("expected rows sorted by ts, were not")
    if np.any(ends <= opens):
        raise BadData("expected every label to end after its bar opens, did not")
    return opens, ends


def _utc(instant_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant_us)
