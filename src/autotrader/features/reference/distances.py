"""How far two distributions are apart: population stability index, Kolmogorov-Smirnov, Jensen-Shannon.

All three take shares of bins (the last axis), so that one count serves them. The stability index
is that of credit scoring (Siddiqi, Credit Risk Scorecards, 2006), the sum of (a - e) log(a / e).
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.errors import BadData

Floats = NDArray[np.float64]

FLOOR = 1e-4
"""Of a share before its logarithm: an empty bin says "less than this", not "never"."""

PSI_BINS = 10
_FEW_VALUES = 20  # evidently: up to this many different ones are categories


class PsiMethod(StrEnum):
    QUANTILE = "quantile"
    EVIDENTLY = "evidently"


def stability_index(expected: Floats, actual: Floats) -> Floats:
    """PSI of shares [..., bins]; bins that neither has add nothing."""
    e, a = np.maximum(expected, FLOOR), np.maximum(actual, FLOOR)
    total: Floats = ((a - e) * np.log(a / e)).sum(axis=-1)
    return total


def largest_gap(expected: Floats, actual: Floats) -> Floats:
    """Kolmogorov-Smirnov statistic of shares [..., bins], at their edges.

    Between two edges the distributions could part by no more than the share of one bin beyond it.
    """
    gap: Floats = np.abs(np.cumsum(actual - expected, axis=-1)).max(axis=-1)
    return gap


def jensen_shannon(expected: Floats, actual: Floats) -> Floats:
    """Jensen-Shannon distance of shares [..., bins], base 2: 0 is equal, 1 is apart (Lin 1991)."""
    middle = (expected + actual) / 2
    divergence = (_relative_entropy(expected, middle) + _relative_entropy(actual, middle)) / 2
    distance: Floats = np.sqrt(np.maximum(divergence, 0.0))
    return distance


def _relative_entropy(of: Floats, to: Floats) -> Floats:
    ratio = np.divide(of, to, out=np.ones_like(of), where=of > 0)
    total: Floats = (of * np.log2(ratio)).sum(axis=-1)
    return total


def quantile_edges(ordered: NDArray[np.floating], bins: int) -> NDArray[np.floating]:
    """Inner edges of bins of equal share, strictly increasing, fewer where many values are equal.

    Parameters
    ----------
    ordered : float[n]
        Sorted, no NaN, at least one.
    bins : int

    Returns
    -------
    float[up to bins - 1]
        None at the maximum: that would leave the last bin, which is open, empty for ever.
    """
    edges = np.unique(ordered[(np.arange(1, bins) * ordered.size) // bins])
    inner: NDArray[np.floating] = edges[edges < ordered[-1]]
    return inner


def psi(
    reference: NDArray[np.floating],
    current: NDArray[np.floating],
    *,
    method: PsiMethod = PsiMethod.QUANTILE,
) -> float:
    """Population stability index of two samples.

    Parameters
    ----------
    reference, current : float[n]
        NaN is left out.
    method : PsiMethod
        `quantile`: ten bins that hold a tenth of the reference each, the outer ones open.
        `evidently`: what Evidently 0.7 computes, bins of equal width over both samples together,
        as many as Sturges' rule says; for comparison with reports made by it.

    Raises
    ------
    BadData
        If a sample has no value.
    """
    one, other = reference[~np.isnan(reference)], current[~np.isnan(current)]
    if one.size == 0 or other.size == 0:
        raise BadData(f"expected values in both samples, were {one.size} and {other.size}")
    if method is PsiMethod.EVIDENTLY:
        return _psi_of_evidently(one, other)
    edges = quantile_edges(np.sort(one), PSI_BINS)
    shares = [
        np.bincount(np.searchsorted(edges, x, side="left"), minlength=PSI_BINS) / x.size for x in (one, other)
    ]
    return float(stability_index(*shares))


def _psi_of_evidently(reference: NDArray[np.floating], current: NDArray[np.floating]) -> float:
    if np.unique(reference).size > _FEW_VALUES:
        bins = np.histogram_bin_edges(np.concatenate([reference, current]), bins="sturges")
        shares = [np.histogram(x, bins)[0] / x.size for x in (reference, current)]
    else:
        values = np.unique(np.concatenate([reference, current]))
        shares = [np.bincount(np.searchsorted(values, x), minlength=values.size) / x.size
                  for x in (reference, current)]  # fmt: skip
    e, a = (_filled_as_evidently(share) for share in shares)
    return float(((e - a) * np.log(e / a)).sum())


def _filled_as_evidently(share: Floats) -> Floats:
    smallest = float(np.min(share[share > 0]))
    return np.where(share == 0, smallest / 1e6 if smallest <= 1e-4 else 1e-4, share)
