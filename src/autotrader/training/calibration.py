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
from scipy.optimize import minimize

from autotrader.domain.errors import BadData

FLOOR = 1e-7  # of a probability, before its logarithm; the ONNX graph uses the same
_MAXIMUM_SLOPE = 10.0

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
    column = label.astype(np.intp) + 1
    is_class = np.eye(3)[column]

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, down, up = theta
        q = _softmax(slope * log_raw + np.array([down, 0.0, up]))
        residual = (q - is_class) / label.size
        value = -float(np.log(np.maximum(q[np.arange(label.size), column], FLOOR)).mean())
        per_class = residual.sum(axis=0)
        return value, np.array([(residual * log_raw).sum(), per_class[0], per_class[2]])

    found = minimize(
        loss,
        np.array([1.0, 0.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, _MAXIMUM_SLOPE), (None, None), (None, None)],
    )
    slope, down, up = (float(v) for v in found.x)
    return Calibration(slope, (down, 0.0, up))


def _softmax(scores: NDArray[np.float64]) -> Probabilities:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result
