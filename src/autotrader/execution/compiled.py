"""How the kernels of execution and training are compiled."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba
import structlog

from autotrader.data.machine_code import keep_in_turn

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False}


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call, keep the machine code on disk, and keep the order of every operation.

    No fastmath: the compiler would reorder additions, and a function that is called for one bar
    (trader) would no longer agree bit for bit with itself over a history (backtest). Division by
    zero gives inf or NaN. The interpreter's lock is released, so that threads run side by side.

    Machine code is kept where `NUMBA_CACHE_DIR` says, beside the source, or in the user's cache;
    where none can be written, every process compiles again, some four seconds in all.
    """
    own_name = function.__qualname__
    # numba sees that kept code is stale by the function's own file, not by those of the functions
    # that it calls: a digest of this package becomes part of the name.
    function.__qualname__ = f"{own_name}_{_sources()}"
    try:
        compiled: Callable[P, R] = numba.njit(cache=True, **_OPTIONS)(function)
        keep_in_turn(compiled)
    except RuntimeError as error:
        _warn_once(str(error))
        compiled = numba.njit(**_OPTIONS)(function)
    return compiled


@functools.cache
def _sources() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _warn_once(reason: str) -> None:
    structlog.get_logger(__name__).warning(
        "kernel_cache_unavailable", reason=reason, do="set NUMBA_CACHE_DIR to a writable folder"
    )
