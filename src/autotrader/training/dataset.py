"""A frozen training set: features, labels and prices of one window, under the digest of its content."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Times
from autotrader.execution.prices import PriceBars
from autotrader.execution.strategy import VOLATILITY_FEATURE
from autotrader.training.artifacts import file_sha256

Rows = NDArray[np.int64]

ROW = np.dtype(
    [
        ("ts", "M8[us]"),
        ("end_ts", "M8[us]"),
        ("instrument", "i4"),
        ("bar", "i8"),
        ("label", "i1"),
        ("forward_return", "f8"),
    ]
)
BAR = np.dtype([("ts", "M8[us]"), ("open", "f8"), ("close", "f8"), ("volume", "f8")])
FEATURES_FILE, ROWS_FILE = "features.npy", "rows.npy"


@dataclass(frozen=True, slots=True)
class InstrumentRows:
    """What became of one instrument's bars.

    Attributes
    ----------
    instrument : str
        `venue:symbol`.
    bars : int
        In the window.
    sampled : int
        Every n-th of them on the time grid.
    without_features, warming_up, without_label : int
        Sampled rows that were dropped: no row in the feature store; a feature is missing; the
        label is not known, for want of a full horizon or of a volatility.
    rows : int
        What is left.
    """

    instrument: str
    bars: int
    sampled: int
    without_features: int
    warming_up: int
    without_label: int
    rows: int


@dataclass(frozen=True, slots=True)
class PreparedData:
    """A frozen training set, and what went into it.

    Attributes
    ----------
    key : str
        Hash of what was asked for; names the folder.
    sha256 : str
        Digest of the content: rows, labels, features and prices.
    folder : str
    first_ts, last_ts : datetime
        Of the rows, UTC.
    as_of : datetime
        Market time; nothing that became known later is in the data.
    labels : str
        Rule of the labels, as the settings put it; horizon and costs apart.
    feature_lookback : int
        Bars that a feature remembers, at most.
    feature_names : tuple of str
        Columns of the matrix. Features without a value in any instrument are in `empty_features`.
    instruments : tuple of InstrumentRows
        In the order of the rows' instrument numbers.
    left_out : Mapping[str, str]
        Instruments without a row, with the reason.
    class_counts : tuple of 3 ints
        Rows labelled -1, 0, +1.
    sources : tuple of str
        Where the bars came from, as stored with them.
    data_versions : Mapping[str, int]
        Versions of the tables that were read.
    """

    key: str
    sha256: str
    folder: str
    first_ts: datetime
    last_ts: datetime
    as_of: datetime
    interval: Interval
    horizon_minutes: int
    round_trip_cost_bps: float
    labels: str
    sample_every_bars: int
    feature_set: str
    feature_lookback: int
    feature_names: tuple[str, ...]
    empty_features: tuple[str, ...]
    instruments: tuple[InstrumentRows, ...]
    left_out: Mapping[str, str]
    rows: int
    class_counts: tuple[int, int, int]
    sources: tuple[str, ...]
    data_versions: Mapping[str, int]

    @property
    def horizon(self) -> timedelta:
        return timedelta(minutes=self.horizon_minutes)

    @property
    def simulated(self) -> bool:
        return "SIMULATED" in self.sources


@dataclass(frozen=True, eq=False)
class Dataset:
    """A frozen training set, open for reading. Rows are sorted by ts, then instrument.

    Attributes
    ----------
    prepared : PreparedData
    features : float32[n, f]
        Memory-mapped; no NaN.
    ts, end_ts : datetime64[us][n]
        Open of the row's bar, and when its label is known.
    instrument : int32[n]
        Number in `prepared.instruments`.
    bar : int64[n]
        Row of the bar in `bars(instrument)`.
    label : int8[n]
    forward_return : float64[n]
        Simple gross return until `end_ts`: over the horizon, or to the barrier that came first.
    """

    prepared: PreparedData
    features: NDArray[np.float32]
    ts: Times
    end_ts: Times
    instrument: NDArray[np.int32]
    bar: Rows
    label: NDArray[np.int8]
    forward_return: Floats

    def __len__(self) -> int:
        return len(self.ts)

    @functools.cached_property
    def volatility(self) -> Floats:
        """float64[n]: what sizing looks at."""
        column = self.prepared.feature_names.index(VOLATILITY_FEATURE)
        return self.features[:, column].astype(np.float64)

    @functools.cached_property
    def _all_bars(self) -> tuple[PriceBars, ...]:
        folder = Path(self.prepared.folder)
        return tuple(_read_bars(folder / bars_file(i)) for i in range(len(self.prepared.instruments)))

    def bars(self, instrument: int) -> PriceBars:
        return self._all_bars[instrument]


def open_dataset(prepared: PreparedData) -> Dataset:
    """Open a frozen training set, its digest verified.

    Raises
    ------
    BadData
        If a file is gone or its bytes differ from what was frozen.
    """
    folder = Path(prepared.folder)
    files = content_files(folder, len(prepared.instruments))
    if not all(f.is_file() for f in files) or content_sha256(files) != prepared.sha256:
        raise BadData(
            f"expected training data with sha256 {prepared.sha256} in {folder}, was other or gone: "
            "delete the folder and prepare it again"
        )
    rows = np.load(folder / ROWS_FILE)
    return Dataset(
        prepared=prepared,
        features=np.load(folder / FEATURES_FILE, mmap_mode="r"),
        **{name: np.ascontiguousarray(rows[name]) for name in ROW.names or ()},
    )


def bars_file(number: int) -> str:
    """Name of the file with the prices of the instrument of that number."""
    return f"bars-{number:05d}.npy"


def content_files(folder: Path, n_instruments: int) -> list[Path]:
    """All files whose bytes make the training set."""
    names = [ROWS_FILE, FEATURES_FILE, *(bars_file(i) for i in range(n_instruments))]
    return [folder / name for name in names]


def content_sha256(files: list[Path]) -> str:
    """One digest of all of them, in order."""
    return hashlib.sha256("".join(file_sha256(f) for f in files).encode()).hexdigest()


def _read_bars(path: Path) -> PriceBars:
    table = np.load(path)
    return PriceBars(*(np.ascontiguousarray(table[name]) for name in ("ts", "open", "close", "volume")))
