"""Counting values in bins, compiled: the one pass over current data that a drift check makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotrader.features.compiled import entry_point

_BLOCK = 4096  # values that stay in the nearest cache while every edge is held against them


@entry_point
def count_above(values: NDArray[np.float32], edges: NDArray[np.float32], above: NDArray[np.int64]) -> None:
    """Count the values above each edge, by comparing all with all.

    That is far more comparisons than a binary search makes, and half its time: they need no
    branch, no look-up and no histogram, so eight are made at once.

    Parameters
    ----------
    values : float32[n]
        NaN is above nothing.
    edges : float32[e]
    above : int64[e + 2]
        Added to: for each edge; then the values that are not NaN; then those that are.
    """
    here = np.int64(0)
    for begin in range(0, values.size, _BLOCK):
        block = values[begin : begin + _BLOCK]
        for k in range(edges.size):
            edge = edges[k]
            count = np.int32(0)
            for i in range(block.size):
                count += np.int32(block[i] > edge)
            above[k] += count
        present = np.int32(0)
        for i in range(block.size):
            present += np.int32(block[i] == block[i])
        here += present
    above[edges.size] += here
    above[edges.size + 1] += values.size - here
