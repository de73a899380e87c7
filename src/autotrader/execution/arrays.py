"""Array types of the execution model, and how its kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Times = npt.NDArray[np.datetime64]

P = ParamSpec("P")
R = TypeVar("R")


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile, keeping the order of every floating point operation.

    No fastmath: reassociation would make results depend on the compiler, and the same function
    called for one bar (trader) and for a history (backtest) would no longer agree bit for bit. The
    interpreter lock is released, so that threads can run kernels side by side.
    """
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True)(function)
    return compiled
