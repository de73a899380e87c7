"""Probability calibration that ONNX can express exactly: a temperature and a bias per class.

    q = softmax(slope * log(p) + bias)

Temperature scaling with bias correction (Guo et al. 2017, "On Calibration of Modern Neural
Networks"; Alexandari et al. 2020, "Maximum Likelihood with Bias-Corrected Calibration"). With
three numbers it hardly overfits, and where a model knows nothing the slope goes to 0 and the
probabilities become the base rates: a model without skill then says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.errors import BadData

FLOOR = 1e-7  # of a probability, before its logarithm; the ONNX graph uses the same
_MAXIMUM_SLOPE = 10.0
_ITERATIONS = 50
_SMALLEST_SHARE = 1e-6
_NEGLIGIBLE = 1e-13  # twice the likelihood, in nats a row, that a step can still add

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The map from a model's raw probabilities to calibrated ones.

    Attributes
    ----------
    slope : float
        Inverse temperature, in [0, 10]; below 1 the raw model was overconfident.
    bias : tuple of 3 floats
        Added to the log probabilities of -1, 0, +1; the middle one is 0.
    """

    slope: float = 1.0
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def apply(self, raw: Probabilities) -> Probabilities:
        """Calibrate probabilities.

        Parameters
        ----------
        raw : float64[n, 3]

        Returns
        -------
        float64[n, 3]
            Rows sum to 1.
        """
        return _softmax(self.slope * np.log(np.maximum(raw, FLOOR)) + np.asarray(self.bias))


def fit_calibration(raw: Probabilities, label: NDArray[np.int8]) -> Calibration:
    """The calibration with the greatest likelihood on rows that the model was not fitted on.

    Parameters
    ----------
    raw : float64[n, 3]
        The model's probabilities of -1, 0, +1.
    label : int8[n]
        What happened.

    Raises
    ------
    BadData
        If a class does not occur: its bias would be minus infinity.
    """
    missing = sorted({-1, 0, 1} - set(np.unique(label).tolist()))
    if missing:
        raise BadData(
            f"expected every class in the {label.size} calibration rows, was none of {missing}: "
            "use a longer training window, or a cost that fits the market"
        )
    log_raw = np.log(np.maximum(raw, FLOOR))
    slope, down, up = _most_likely(log_raw, label, slope=None)
    if not 0.0 <= slope <= _MAXIMUM_SLOPE:
        # The likelihood is concave: bounded, its maximum lies on the bound that was crossed.
        slope, down, up = _most_likely(log_raw, label, slope=min(max(slope, 0.0), _MAXIMUM_SLOPE))
    return Calibration(slope, (down, 0.0, up))


def _most_likely(
    log_raw: NDArray[np.float64], label: NDArray[np.int8], *, slope: float | None
) -> tuple[float, float, float]:
    """Slope and the biases of -1 and +1 by Newton's method; a slope that is given stays."""
    is_class = label[:, None] == np.array([-1, 0, 1])
    theta = np.array([1.0 if slope is None else slope, 0.0, 0.0])
    free = slice(0 if slope is None else 1, 3)
    loss, gradient, curvature = _loss(theta, log_raw, is_class)
    for _ in range(_ITERATIONS):
        # The ridge keeps the step finite where the forecasts do not vary at all.
        step = np.zeros(3)
        step[free] = np.linalg.solve(curvature[free, free] + 1e-10 * np.eye(3)[free, free], gradient[free])
        if gradient @ step < _NEGLIGIBLE:
            break
        share = 1.0
        while share > _SMALLEST_SHARE and _loss(theta - share * step, log_raw, is_class)[0] > loss:
            share /= 2
        theta = theta - share * step
        loss, gradient, curvature = _loss(theta, log_raw, is_class)
    return float(theta[0]), float(theta[1]), float(theta[2])


def _loss(
    theta: NDArray[np.float64], log_raw: NDArray[np.float64], is_class: NDArray[np.bool_]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Mean negative log likelihood in slope and two biases, its gradient and its Hessian."""
    q = _softmax(theta[0] * log_raw + np.array([theta[1], 0.0, theta[2]]))
    value = -float(np.log(np.maximum(q[is_class], FLOOR)).mean())
    residual = q - is_class
    gradient = np.array([(residual * log_raw).sum(), residual[:, 0].sum(), residual[:, 2].sum()])
    mean = (q * log_raw).sum(axis=1)
    across = (q * (log_raw - mean[:, None])).sum(axis=0)
    second = np.diag([(q * np.square(log_raw)).sum() - np.square(mean).sum(), 0.0, 0.0])
    second[0, 1] = second[1, 0] = across[0]
    second[0, 2] = second[2, 0] = across[2]
    second[1, 1] = (q[:, 0] * (1 - q[:, 0])).sum()
    second[2, 2] = (q[:, 2] * (1 - q[:, 2])).sum()
    second[1, 2] = second[2, 1] = -(q[:, 0] * q[:, 2]).sum()
    return value, gradient / len(q), second / len(q)


def _softmax(scores: NDArray[np.float64]) -> Probabilities:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result
