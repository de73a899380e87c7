"""How good probability forecasts of -1, 0, +1 are, apart from what they would have earned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotrader.execution.strategy import score_of
from autotrader.training.calibration import Probabilities
from autotrader.training.classifiers import CLASSES, Labels
from autotrader.training.statistics import expected_calibration_error, precision_at_k

Floats = NDArray[np.float64]

_TOP_SHARE = 0.05
_SHIFTS = 200


@dataclass(frozen=True, slots=True)
class Skill:
    """Measures of forecasts on rows that the models had not seen.

    Attributes
    ----------
    rows : int
    auc : float
        Mean of the three areas, each class against the others; 0.5 is chance. Foreseeing how much
        prices move is enough to be above it.
    direction_auc : float
        Rises against falls alone, by the score that is traded; 0.5 is chance.
    direction_auc_error : float
        Standard deviation of `direction_auc` when forecasts and outcomes are moved apart in time,
        which leaves both as dependent on their own past as they are. All three are None where only
        one thing ever happened.
    log_loss, base_rate_log_loss : float
        In nats; the second is that of always saying how frequent each class is.
    brier : float
        Mean over rows of the sum over classes of squared errors, halved: in [0, 1].
    ece : float
        Of the most likely class's probability (Guo et al. 2017).
    precision_at_k, base_rate_up : float
        Share of rises among the `k` rows of the highest probability of one, and among all.
    k : int
    """

    rows: int
    auc: float | None
    direction_auc: float | None
    direction_auc_error: float | None
    log_loss: float
    base_rate_log_loss: float
    brier: float
    ece: float
    precision_at_k: float
    base_rate_up: float
    k: int


def measure_skill(
    probabilities: Probabilities,
    label: Labels,
    *,
    instants_per_horizon: int,
    rows_per_instant: int,
    seed: int,
) -> Skill:
    """Measure forecasts against what happened.

    Parameters
    ----------
    probabilities : float64[n, 3]
        Rows in order of time.
    label : int8[n]
    instants_per_horizon, rows_per_instant : int
        How many instants' labels overlap (shifts are longer), and how many instruments share one.
    seed : int
    """
    n = len(label)
    is_class = label[:, None] == np.array(CLASSES)
    k = max(round(_TOP_SHARE * n), 1)
    frequency = is_class.mean(axis=0)
    present = frequency[frequency > 0]
    score = score_of(probabilities)
    error = error_by_shifts(
        label,
        score,
        instants_per_horizon=instants_per_horizon,
        rows_per_instant=rows_per_instant,
        seed=seed,
    )
    areas = [area(is_class[:, c], probabilities[:, c]) for c in range(len(CLASSES))]
    return Skill(
        rows=n,
        auc=_known(float(np.mean(areas))),
        direction_auc=_known(direction_area(label, score)),
        direction_auc_error=_known(error),
        log_loss=log_loss(probabilities, label),
        base_rate_log_loss=float(-(present * np.log(present)).sum()),
        brier=float(np.square(probabilities - is_class).sum(axis=1).mean() / 2),
        ece=expected_calibration_error(
            probabilities.argmax(axis=1) == label + 1, np.minimum(probabilities.max(axis=1), 1.0)
        ),
        precision_at_k=precision_at_k(is_class[:, 2], probabilities[:, 2], k),
        base_rate_up=float(frequency[2]),
        k=k,
    )


def log_loss(probabilities: Probabilities, label: Labels) -> float:
    """Mean negative log likelihood of what happened, in nats."""
    chosen = probabilities[np.arange(len(label)), label.astype(np.intp) + 1]
    return float(-np.log(np.maximum(chosen, 1e-15)).mean())


def area(event: NDArray[np.bool_], score: Floats) -> float:
    """Area under the ROC curve: chance that an event scores above a non-event, ties half.

    NaN where there is no event, or nothing else (Mann and Whitney 1947).
    """
    return _area(_tied(score), event, ~event)


def direction_area(label: Labels, score: Floats) -> float:
    """Area under the ROC curve of rises against falls; rows that did neither are left out."""
    return _area(_tied(score), label > 0, label < 0)


def error_by_shifts(
    label: Labels, score: Floats, *, instants_per_horizon: int, rows_per_instant: int, seed: int
) -> float:
    """Standard deviation of `direction_area` when outcomes are moved against the scores in time.

    Rows are in order of time. Both series stay as dependent on their own past as they are, and
    moves by whole instants keep instruments together, whose outcomes go with each other: so this
    is what chance alone does. NaN where there is nothing to tell apart.
    """
    instants = len(label) // rows_per_instant
    shortest = max(min(instants_per_horizon, instants // 4), 1)
    generator = np.random.default_rng(seed)
    shifts = generator.integers(shortest, max(instants - shortest, shortest + 1), _SHIFTS) * rows_per_instant
    groups = _tied(score)
    moved = (np.roll(label, int(s)) for s in shifts)
    areas = np.array([_area(groups, outcome > 0, outcome < 0) for outcome in moved])
    return float(areas.std()) if np.isfinite(areas).all() else float("nan")


def _tied(score: Floats) -> NDArray[np.intp]:
    """Number of each row's group of equal scores, the lowest first."""
    groups: NDArray[np.intp] = np.unique(score, return_inverse=True)[1]
    return groups


def _area(groups: NDArray[np.intp], event: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    events = np.bincount(groups, event)
    others = np.bincount(groups, other)
    pairs = events.sum() * others.sum()
    if pairs == 0:
        return float("nan")
    below = np.cumsum(others) - others / 2
    return float((events * below).sum() / pairs)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
