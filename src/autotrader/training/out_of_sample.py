"""What a model's folds forecast out of sample, kept with it: its successor is compared with that.

Bars are named by instrument and time, so that the forecasts can be joined to any later training
set. One file: arrays in NumPy's archive, never a pickle.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Times
from autotrader.training.dataset import Dataset, Rows
from autotrader.training.folds import Forecasts

OUT_OF_SAMPLE_FILE = "out_of_sample.npz"

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class OutOfSample:
    """Forecasts that the gates judged, by bar; one element a row, sorted by ts, then instrument.

    Attributes
    ----------
    instruments : tuple of str
        `venue:symbol`.
    ts : datetime64[us][k]
        Open of the row's bar.
    instrument : int32[k]
        Number in `instruments`.
    score : float64[k]
        Probability of a rise minus that of a fall.
    entry_score : float64[k]
        Threshold of the fold's model that made the forecast.
    """

    instruments: tuple[str, ...]
    ts: Times
    instrument: NDArray[np.int32]
    score: Floats
    entry_score: Floats

    @classmethod
    def of(cls, data: Dataset, forecasts: Forecasts) -> OutOfSample:
        """Of forecasts of the data set's rows."""
        return cls(
            tuple(rows.instrument for rows in data.prepared.instruments),
            data.ts[forecasts.rows],
            data.instrument[forecasts.rows],
            forecasts.score,
            forecasts.entry_score,
        )

    def positions_of(self, data: Dataset, rows: Rows) -> Rows:
        """int64[len(rows)]: where the forecast of each row of the data set is; -1 where there is none."""
        found = np.full(len(rows), -1, np.int64)
        for number, known in enumerate(data.prepared.instruments):
            if known.instrument not in self.instruments:
                continue
            own = np.flatnonzero(self.instrument == self.instruments.index(known.instrument))
            asked = np.flatnonzero(data.instrument[rows] == number)
            at = np.searchsorted(self.ts[own], data.ts[rows[asked]])
            there = at < len(own)
            there[there] = self.ts[own[at[there]]] == data.ts[rows[asked[there]]]
            found[asked[there]] = own[at[there]]
        return found


def save_out_of_sample(forecasts: OutOfSample, path: Path) -> None:
    """Write the file; the same forecasts give the same bytes."""
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            format=np.array(_FORMAT),
            instruments=np.array(forecasts.instruments),
            ts=forecasts.ts,
            instrument=forecasts.instrument,
            score=forecasts.score,
            entry_score=forecasts.entry_score,
        )


def load_out_of_sample(path: Path) -> OutOfSample:
    """Read the file.

    Raises
    ------
    BadData
        If it holds no forecasts, or those of another format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if file["format"] != _FORMAT:
                raise BadData(f"expected forecasts of format {_FORMAT} in {path}, was {file['format']}")
            return OutOfSample(
                tuple(str(name) for name in file["instruments"]),
                file["ts"],
                file["instrument"],
                file["score"],
                file["entry_score"],
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BadData(f"expected forecasts out of sample in {path}, was {error!r}") from error
