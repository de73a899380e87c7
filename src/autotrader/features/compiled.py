"""How this package compiles its numeric kernels.

The machine code of an entry point, with all that it calls, is cached on disk, so that a process
starts in about a second. numba looks for a writable place in this order: the folder that
`NUMBA_CACHE_DIR` names, `__pycache__` beside the source, the user's cache folder. Where none can be
written (a read-only image without a home), kernels are compiled again in every process, which
takes ten seconds: set `NUMBA_CACHE_DIR` there, and fill it when the image is built (call
`autotrader.features.live.warm_up`).

`fastmath` stays off: it would let the compiler reorder additions, and the newest-row evaluation
would no longer equal the batch to the last bit.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numba
import structlog

from autotrader.data.machine_code import keep_in_turn

Function = TypeVar("Function", bound=Callable[..., object])

_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False}
_HERE = Path(__file__).parent


def kernel(function: Function) -> Function:
    """Compile as part of the entry points that call it; division by zero gives inf or NaN."""
    compiled: Function = numba.njit(**_OPTIONS)(function)
    return compiled


def entry_point(function: Function) -> Function:
    """Compile on first call, without the interpreter's lock, and keep the machine code on disk.

    numba notices that cached code is stale by the file of the function alone, not by those of the
    kernels that it calls: a digest of all of them becomes part of the name it is kept under.
    """
    function.__qualname__ = f"{function.__name__}_{_sources()}"
    try:
        cached: Function = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:
        structlog.get_logger(__name__).warning(
            "kernel_cache_unavailable",
            kernel=function.__name__,
            reason=str(error),
            do="set NUMBA_CACHE_DIR to a writable folder",
        )
        return kernel(function)
    keep_in_turn(cached)
    return cached


@functools.cache
def _sources() -> str:
    digest = hashlib.sha256()
    beside = [_HERE / f"{name}.py" for name in ("compiled", "definitions", "sessions")]
    for source in (*beside, *sorted(_HERE.glob("kernels/*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
