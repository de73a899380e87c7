"""The distribution of some columns over a window, by instrument, with the calibration of alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotrader.features.reference.calibration import Calibration
from autotrader.features.reference.counting import count_above

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Columns = NDArray[np.float32]
Times = NDArray[np.datetime64]

FINE_BINS = 60
"""Of which six make one of the ten bins that the stability index uses."""

_BLOCK_ROWS = 128


@dataclass(frozen=True, eq=False)
class Profile:
    """What some columns looked like.

    Attributes
    ----------
    names, instruments : tuple of str
    edges : float32[f, 59]
        Inner edges of the fine bins, padded with infinity; the outer bins are open.
    coarse : int64[f, 10]
        Number of fine bins up to the end of each of the ten coarse ones.
    counts : int64[i, f, 60]
        Of each instrument.
    minimum, maximum, mean, deviation : float64[f]
    bounds : float32[2, f]
        Quantiles between which values are held before they are correlated.
    correlation : float64[f, f]
    psi_calibrations, correlation_calibrations : tuple of Calibration
        Of the stability index of each column; of how far its correlations moved.
    """

    names: tuple[str, ...]
    instruments: tuple[str, ...]
    edges: Columns
    coarse: Counts
    counts: Counts
    minimum: Floats
    maximum: Floats
    mean: Floats
    deviation: Floats
    bounds: Columns
    correlation: Floats
    psi_calibrations: tuple[Calibration, ...]
    correlation_calibrations: tuple[Calibration, ...]

    @property
    def rows(self) -> int:
        return int(self.counts[:, 0].sum()) if len(self.names) else 0

    def count(self, values: Sequence[Columns]) -> tuple[Counts, Counts]:
        """Count current values in the fine bins.

        Parameters
        ----------
        values : sequence of float32[n]
            Contiguous, in the order of `names`.

        Returns
        -------
        counts : int64[f, 60]
        missing : int64[f]
            Values that are NaN.
        """
        above = np.zeros((len(self.names), FINE_BINS + 1), np.int64)
        for column, edges, row in zip(values, self.edges, above, strict=True):
            count_above(column, edges, row)
        here = above[:, -2:-1]
        reaching = np.concatenate([here, above[:, : FINE_BINS - 1], np.zeros_like(here)], axis=1)
        return reaching[:, :-1] - reaching[:, 1:], above[:, -1]

    def expected(self, rows: Counts) -> Floats:
        """Shares of the fine bins, of a mix of instruments with that many rows each.

        A column of which an instrument has no value at all (its venue does not report it) is
        expected as the others have it.

        Parameters
        ----------
        rows : int64[i]
            At least one above zero.

        Returns
        -------
        float64[f, 60]
        """
        total = self.counts.sum(axis=-1)
        shares = self.counts / np.maximum(total, 1)[..., None]
        weights = np.where(total > 0, rows[:, None], 0)[..., None].astype(np.float64)
        mixed: Floats = (weights * shares).sum(axis=0) / np.maximum(weights.sum(axis=0), 1.0)
        return mixed

    def to_coarse(self, fine: NDArray[np.generic]) -> Floats:
        """Sums over the ten coarse bins, of [f, 60]."""
        ends = np.take_along_axis(np.cumsum(fine, axis=-1, dtype=np.float64), self.coarse - 1, axis=-1)
        return np.diff(ends, axis=-1, prepend=0.0)

    def correlation_of(self, rows: Columns) -> Floats:
        """Correlations of rows[n, f]; a missing value counts as the mean, so that it says nothing."""
        low, high = self.bounds
        held: Floats = (np.clip(rows, low, high) - self.mean.astype(np.float32)).astype(np.float64)
        held[np.isnan(held)] = 0.0
        return correlation_from_sums(_product(held), held.sum(axis=0), len(held))


def correlation_distances(one: Floats, other: Floats) -> Floats:
    """Of each column the root mean square change of its correlations; matrices [..., f, f] to [..., f]."""
    distances: Floats = np.sqrt(np.square(one - other).sum(axis=-1) / max(one.shape[-1] - 1, 1))
    return distances


def correlation_from_sums(product: Floats, total: Floats, n: Floats | float) -> Floats:
    """Correlation matrices of sums of products [..., f, f] and of values [..., f] over n rows."""
    mean = total / (n[..., 0] if isinstance(n, np.ndarray) else n)
    covariance = product / n - mean[..., :, None] * mean[..., None, :]
    deviation = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0.0))
    scale = deviation[..., :, None] * deviation[..., None, :]
    # A column that stands still is correlated with nothing.
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    diagonal = np.arange(covariance.shape[-1])
    correlation[..., diagonal, diagonal] = 1.0
    held: Floats = np.clip(correlation, -1.0, 1.0)
    return held


def _product(held: Floats) -> Floats:
    """The product of the rows' transpose and the rows, in blocks too small for BLAS to share out.

    Its threads wait for each other: on a busy machine that takes a hundred times the sum itself.
    """
    n, f = held.shape
    whole = n - n % _BLOCK_ROWS
    blocks = held[:whole].reshape(-1, _BLOCK_ROWS, f)
    rest = held[whole:]
    product: Floats = np.matmul(blocks.transpose(0, 2, 1), blocks).sum(axis=0) + rest.T @ rest
    return product
