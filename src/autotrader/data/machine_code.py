"""Machine code that numba keeps on disk, written by one process at a time.

To keep code, numba reads the list of what is kept of a function, adds to it, and writes the code. Of two
processes that do so at once, for arguments of two kinds, the list may name for one kind the code of the
other: an array with gaps is then read as if it had none, in every process from then on, without an error.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def keep_in_turn(compiled: Any) -> None:
    """Let no two processes write code of functions that are kept in this one's folder at once.

    Parameters
    ----------
    compiled
        What `numba.njit(cache=True)` made.
    """
    if not hasattr(compiled, "_cache"):  # NUMBA_DISABLE_JIT: it is the function itself
        return
    kept = compiled._cache._cache_file
    save = kept.save

    def save_in_turn(key: object, code: object) -> None:
        with _alone(Path(kept._cache_path)):
            save(key, code)

    kept.save = save_in_turn


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody else's lock file is no reason not to compute
            lock = stack.enter_context((folder / "numba.lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
