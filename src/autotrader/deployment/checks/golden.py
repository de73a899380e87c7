"""Golden predictions: real rows, and what the released bytes say of them in process.

They are made before a deployment from the newest rows of the feature store and lie beside the release.
A service that serves those bytes must give the same answers. That the bytes in turn say what the
trained model says was a gate at registration, and holds as long as the digest does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.command import to_plain
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId
from autotrader.features.store.store import FeatureStore
from autotrader.files import write_atomically
from autotrader.plain import from_plain
from autotrader.ports.registry import ModelVersion
from autotrader.registry.onnx_model import OnnxModel

FILE = "golden.json"
# Newest rows are looked for this far behind the newest one: within it some are complete, or none are.
_REACH = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Samples:
    """Real rows of features, complete, oldest first within each instrument.

    Attributes
    ----------
    instruments : tuple of str
        `venue:symbol` of each row.
    ts : int64[n]
        Opens of the bars in microseconds since 1970, UTC.
    features : float32[n, f]
        In the model's order; no NaN.
    """

    instruments: tuple[str, ...]
    ts: NDArray[np.int64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.instruments)


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One row and its prediction.

    Attributes
    ----------
    ts : int
        Open of the bar in microseconds since 1970, UTC.
    row : tuple of float
        Exactly representable as float32.
    probabilities : tuple of 3 floats
        Of a fall, neither, a rise.
    """

    instrument: str
    ts: int
    row: tuple[float, ...]
    probabilities: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Golden:
    """Golden predictions of a release."""

    model: str
    version: str
    onnx_sha256: str
    feature_set: str
    feature_names: tuple[str, ...]
    rows: tuple[GoldenRow, ...]


def newest_samples(
    store: FeatureStore,
    instruments: Sequence[InstrumentId],
    names: Sequence[str],
    *,
    interval: Interval,
    count: int,
) -> Samples:
    """The newest complete rows of each instrument, as they stand in the feature store.

    Parameters
    ----------
    names : sequence of str
        The model's features, in its order; all of them in the store.
    count : int
        Rows of each instrument at most.
    """
    frames = [pl.DataFrame(schema={"id": pl.String, "ts": pl.Int64, **dict.fromkeys(names, pl.Float32)})]
    for instrument in instruments:
        newest = store.high_water_mark(instrument, interval)
        if newest is None:
            continue
        rows = store.load_features(
            [instrument], interval=interval, start=newest - _REACH, columns=["ts", *names]
        )
        complete = rows.filter(pl.all_horizontal(pl.col(name).is_finite() for name in names))
        key = pl.lit(str(instrument)).alias("id"), pl.col("ts").dt.epoch("us")
        frames.append(complete.tail(count).select(*key, *names))
    found = pl.concat(frames)
    features = found.select(names).to_numpy().astype(np.float32).reshape(found.height, len(names))
    return Samples(tuple(found["id"].to_list()), found["ts"].to_numpy(), features)


def make_golden(version: ModelVersion, model: OnnxModel, samples: Samples) -> Golden:
    """Ask the model, in process, about each row."""
    probabilities = model.probabilities(samples.features)
    rows = tuple(
        GoldenRow(instrument, int(ts), tuple(map(float, row)), (float(p[0]), float(p[1]), float(p[2])))
        for instrument, ts, row, p in zip(
            samples.instruments, samples.ts, samples.features, probabilities, strict=True
        )
    )
    return Golden(
        model=version.name,
        version=version.semver,
        onnx_sha256=version.onnx_sha256,
        feature_set=version.tags["feature_set"],
        feature_names=model.feature_names,
        rows=rows,
    )


def write_golden(folder: Path, golden: Golden) -> Path:
    """Put them beside the release."""
    path = folder / FILE
    write_atomically(path, json.dumps(to_plain(golden), allow_nan=False).encode())
    return path


def read_golden(folder: Path) -> Golden:
    """Those of a release.

    Raises
    ------
    BadData
        If there are none, or the file is not ours.
    """
    path = folder / FILE
    try:
        plain = json.loads(path.read_text())
    except FileNotFoundError:
        raise BadData(
            f"expected golden predictions in {path}, was no file: run the pre-deploy checks"
        ) from None
    except ValueError:
        raise BadData(f"expected JSON in {path}, was none: run the pre-deploy checks again") from None
    return from_plain(Golden, plain)
