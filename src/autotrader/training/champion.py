"""The champion on the challenger's window, as far as that is fair to both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from autotrader.domain.bars import parse_utc
from autotrader.execution.arrays import Floats
from autotrader.execution.strategy import score_of
from autotrader.registry.onnx_model import OnnxModel
from autotrader.training.artifacts import file_sha256
from autotrader.training.dataset import Dataset, Rows
from autotrader.training.gates.evidence import Window
from autotrader.training.out_of_sample import load_out_of_sample


@dataclass(frozen=True, slots=True)
class ChampionFiles:
    """What the registry has of the champion.

    Attributes
    ----------
    onnx : Path
    out_of_sample : Path or None
        None: it was registered without.
    """

    onnx: Path
    out_of_sample: Path | None = None

    def digests(self) -> tuple[str, str | None]:
        return file_sha256(self.onnx), file_sha256(self.out_of_sample) if self.out_of_sample else None


@dataclass(frozen=True, eq=False)
class Champion:
    """What the champion says of rows that it had not seen either.

    Attributes
    ----------
    rows : int64[k]
        In the data set, increasing; none where it cannot be compared.
    score, entry_score : float64[k]
        As in `Forecasts`.
    window : Window or None
        What they make of the challenger's window.
    reason : str
        Which rows were used, or why none.
    """

    rows: Rows
    score: Floats
    entry_score: Floats
    window: Window | None
    reason: str


def ask_champion(files: ChampionFiles, data: Dataset, rows: Rows) -> Champion:
    """What the champion forecast, or forecasts now, of those of the rows that it did not learn from.

    What its folds forecast when it was judged itself counts: their models had not seen those rows.
    Rows since then it forecasts now, as it does live, unless it learnt from them, which would flatter
    it. With both, a champion of any age is compared on the challenger's own window.

    Parameters
    ----------
    files : ChampionFiles
    data : Dataset
    rows : int64[k]
        That the challenger was judged on.

    Raises
    ------
    BadData
        If a file is no model of ours, or holds no forecasts.
    """
    model = OnnxModel(files.onnx)
    score, entry_score = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    said = []
    if other_pace := _other_pace(model, data):
        return Champion(rows[:0], score[:0], entry_score[:0], None, other_pace)
    if files.out_of_sample is not None:
        recorded = load_out_of_sample(files.out_of_sample)
        at = recorded.positions_of(data, rows)
        score[at >= 0], entry_score[at >= 0] = recorded.score[at[at >= 0]], recorded.entry_score[at[at >= 0]]
        said.append(f"{np.count_nonzero(at >= 0):,} as its folds forecast them when it was judged")
    else:
        said.append("without forecasts of its folds, which were not registered with it")
    said.append(_forecast_later(model, data, rows, score, entry_score))
    known = np.flatnonzero(np.isfinite(score))
    if len(known) == 0:
        reason = f"no row to compare the champion on: {'; '.join(said)}"
        return Champion(rows[known], score[known], entry_score[known], None, reason)
    window = _window(data, rows, rows[known])
    reason = (
        f"the champion is compared on {len(known):,} of {len(rows):,} rows, {window.days:.0f} days from "
        f"{window.first_ts:%Y-%m-%d} to {window.last_ts:%Y-%m-%d}: {'; '.join(said)}"
    )
    return Champion(rows[known], score[known], entry_score[known], window, reason)


def _other_pace(model: OnnxModel, data: Dataset) -> str:
    """Why it cannot be compared on bars at which it does not decide; empty where it does."""
    own, here = model.metadata.get("decide_every_bars"), str(data.prepared.sample_every_bars)
    if own in (None, here):
        return ""
    return f"the champion decides at every {own} bars, and cannot be compared on rows of every {here}"


def _forecast_later(model: OnnxModel, data: Dataset, rows: Rows, score: Floats, entry_score: Floats) -> str:
    """Fill in what the model itself says of rows after its training; returns what was done, in words."""
    missing = sorted(set(model.feature_names) - set(data.prepared.feature_names))
    if missing:
        return f"it needs features that this data lacks: {', '.join(missing)}"
    if not {"known_until", "entry_score"} <= set(model.metadata):
        return "its file does not say until when it learnt, and from which score it trades"
    known_until = parse_utc(model.metadata["known_until"])
    since = data.ts[rows] >= np.datetime64(known_until.replace(tzinfo=None), "us")
    later = np.flatnonzero(since & np.isnan(score))
    if len(later) == 0:
        return f"no other row is after {known_until:%Y-%m-%d %H:%M}, until when it learnt"
    columns = [data.prepared.feature_names.index(name) for name in model.feature_names]
    score[later] = score_of(model.probabilities(data.features[rows[later]][:, columns]))
    entry_score[later] = float(json.loads(model.metadata["entry_score"]))
    since_when = f"those after {known_until:%Y-%m-%d %H:%M}, until when it learnt"
    return f"{len(later):,} as it forecasts them now, {since_when}"


def _window(data: Dataset, rows: Rows, compared: Rows) -> Window:
    """Days count that have a row: a gap makes a comparison no longer."""
    days = len(np.unique(data.ts[compared].astype("M8[D]"))) / len(np.unique(data.ts[rows].astype("M8[D]")))
    first, last = (_utc(data.ts[row]) for row in (compared[0], compared[-1]))
    whole = _utc(data.ts[rows[-1]]) - _utc(data.ts[rows[0]])
    return Window(first, last, days * (whole / timedelta(days=1)))


def _utc(instant: np.datetime64) -> datetime:
    made: datetime = instant.astype("M8[us]").item()
    return made.replace(tzinfo=UTC)
