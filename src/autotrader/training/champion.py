"""The champion on the challenger's window, as far as that is fair to both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotrader.domain.bars import parse_utc
from autotrader.registry.onnx_model import OnnxModel
from autotrader.training.dataset import Dataset, Rows
from autotrader.training.folds import Forecasts


@dataclass(frozen=True, eq=False)
class Champion:
    """What the champion says of rows that it had not seen either.

    Attributes
    ----------
    forecasts : Forecasts or None
        None where it cannot be compared.
    reason : str
        Which rows were used, or why none.
    """

    forecasts: Forecasts | None
    reason: str


def ask_champion(path: Path, data: Dataset, rows: Rows) -> Champion:
    """Let the champion forecast those of the rows that came after its own training.

    Rows that it learnt from would flatter it: it is compared on the later ones alone, and not at
    all where there are none, or where it needs features that this data does not have.

    Parameters
    ----------
    path : Path
        Its ONNX file.
    data : Dataset
    rows : int64[k]
        That the challenger was judged on.

    Raises
    ------
    BadData
        If the file is no model of ours.
    """
    model = OnnxModel(path)
    missing = sorted(set(model.feature_names) - set(data.prepared.feature_names))
    if missing:
        return Champion(None, f"the champion needs features that this data lacks: {', '.join(missing)}")
    if not {"known_until", "entry_score"} <= set(model.metadata):
        return Champion(
            None, "the champion's file does not say until when it learnt, and from which score it trades"
        )
    known_until = parse_utc(model.metadata["known_until"])
    later = rows[data.ts[rows] >= np.datetime64(known_until.replace(tzinfo=None), "us")]
    if len(later) == 0:
        return Champion(
            None, f"the champion learnt until {known_until:%Y-%m-%d %H:%M}: no later row to compare on"
        )
    columns = [data.prepared.feature_names.index(name) for name in model.feature_names]
    probabilities = model.probabilities(data.features[later][:, columns])
    entry_score = np.full(len(later), float(json.loads(model.metadata["entry_score"])))
    return Champion(
        Forecasts(later, probabilities, entry_score),
        f"compared on {len(later):,} of {len(rows):,} rows, those after {known_until:%Y-%m-%d %H:%M}, "
        "until when the champion learnt",
    )
