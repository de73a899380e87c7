"""A model's reference as one file: arrays and a JSON text in NumPy's archive, never a pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotrader.command import to_plain
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.features.reference.calibration import Calibration
from autotrader.features.reference.profile import Columns, Profile
from autotrader.plain import from_plain

REFERENCE_FILE = "reference.npz"
SCORE = "score"
"""Name of the one column of the predictions' profile: probability of a rise minus that of a fall."""

_FORMAT = 1
_PROFILE_ARRAYS = (
    "edges", "coarse", "counts", "minimum", "maximum", "mean", "deviation", "bounds", "correlation",
)  # fmt: skip
_CALIBRATION_ARRAYS = ("center", "spread", "quantiles")
_KINDS = ("psi_calibrations", "correlation_calibrations")


@dataclass(frozen=True, slots=True)
class Baseline:
    """How good the model's recipe was on rows that it had not seen, when it was registered.

    Attributes
    ----------
    rows : int
    start, end : datetime
        Of those rows, UTC.
    accuracy : float
        Share of rows whose most likely class came true.
    mean_confidence : float
        Mean probability of the most likely class.
    calibration_error : float
    """

    rows: int
    start: datetime
    end: datetime
    accuracy: float
    mean_confidence: float
    calibration_error: float


@dataclass(frozen=True, slots=True)
class About:
    """Where a reference comes from.

    Attributes
    ----------
    feature_set : str
    start, end : datetime
        Of the training window, UTC.
    learnt_until : datetime
        The model knows bars before this instant, and what became of them.
    interval : Interval
    labels : str
        Rule of the labels, horizon and costs apart.
    sources : tuple of str
        Of the bars.
    """

    feature_set: str
    start: datetime
    end: datetime
    learnt_until: datetime
    interval: Interval
    horizon_minutes: int
    round_trip_cost_bps: float
    labels: str
    sources: tuple[str, ...]
    baseline: Baseline


@dataclass(frozen=True, eq=False)
class Reference:
    """What a model learnt from, and how well it did.

    Attributes
    ----------
    about : About
    features, predictions : Profile
        Of the training window; of the scores of rows that the recipe had not seen.
    sample_names : tuple of str
        Features, then `score`.
    sample : float32[m, k]
        Rows drawn evenly over time, for reports that want rows. Scores are of other rows.
    """

    about: About
    features: Profile
    predictions: Profile
    sample_names: tuple[str, ...]
    sample: Columns


def save_reference(reference: Reference, path: Path) -> None:
    """Write the file; the same reference gives the same bytes."""
    arrays: dict[str, NDArray[Any]] = {"sample": reference.sample}
    scalars = {
        "format": _FORMAT,
        "about": to_plain(reference.about),
        "sample_names": reference.sample_names,
        "features": _pack(reference.features, "features", arrays),
        "predictions": _pack(reference.predictions, "predictions", arrays),
    }
    text = json.dumps(scalars, sort_keys=True).encode()
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, json=np.frombuffer(text, np.uint8), **arrays)


def load_reference(path: Path) -> Reference:
    """Read the file.

    Raises
    ------
    BadData
        If it is no reference, or one of another format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        scalars = json.loads(arrays["json"].tobytes())
        if scalars["format"] != _FORMAT:
            raise BadData(
                f"expected a reference of format {_FORMAT} in {path}, was {scalars['format']}: train again"
            )
        return Reference(
            about=from_plain(About, scalars["about"]),
            features=_unpack(scalars["features"], "features", arrays),
            predictions=_unpack(scalars["predictions"], "predictions", arrays),
            sample_names=tuple(scalars["sample_names"]),
            sample=arrays["sample"],
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BadData(f"expected a model's reference in {path}, was {error!r}: train again") from error


def _pack(profile: Profile, name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    arrays |= {f"{name}.{field}": getattr(profile, field) for field in _PROFILE_ARRAYS}
    scalars: dict[str, Any] = {"names": profile.names, "instruments": profile.instruments}
    for kind in _KINDS:
        calibrations: Sequence[Calibration] = getattr(profile, kind)
        scalars[kind] = [
            {k: v for k, v in vars(c).items() if k not in _CALIBRATION_ARRAYS} for c in calibrations
        ]
        for field in _CALIBRATION_ARRAYS:
            arrays[f"{name}.{kind}.{field}"] = np.array([getattr(c, field) for c in calibrations])
    return scalars


def _unpack(scalars: Mapping[str, Any], name: str, arrays: Mapping[str, NDArray[Any]]) -> Profile:
    fields: dict[str, Any] = {field: arrays[f"{name}.{field}"] for field in _PROFILE_ARRAYS}
    fields |= {
        kind: tuple(
            Calibration(**one, **{f: arrays[f"{name}.{kind}.{f}"][i] for f in _CALIBRATION_ARRAYS})
            for i, one in enumerate(scalars[kind])
        )
        for kind in _KINDS
    }
    return Profile(
        names=tuple(scalars["names"]),
        instruments=tuple(scalars["instruments"]),
        **fields,
    )
