"""Alternatives that are not in the lock file, run beside us in an environment of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

PYTHON = Path(__file__).resolve().parents[2] / ".venv-alternatives" / "bin" / "python"
WORKER = Path(__file__).with_name("worker.py")


class Alternatives:
    """A process of `.venv-alternatives` that does what it is told, once each time.

    It lives as long as the benchmark, so that what is timed is the work and one line each way, and
    neither a start nor the reading of data.

    Parameters
    ----------
    data : Path
        What the worker reads: an npz file, or a folder of Parquet files.
    """

    def __init__(self, data: Path) -> None:
        self._process = subprocess.Popen(
            [PYTHON, WORKER, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Alternatives:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def do(self, name: str) -> Mapping[str, float]:
        """Do it and return what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{name} in {PYTHON}: {answer['error']}")
        result: Mapping[str, float] = answer["result"]
        return result

    def contender(self, name: str) -> Callable[[], object]:
        return lambda: self.do(name)


def installed() -> bool:
    """Whether there is an environment of alternatives; says so on stderr where there is none."""
    if PYTHON.exists():
        return True
    print(
        "vectorbt, backtesting.py and DuckDB are left out: no .venv-alternatives, "
        "benchmarks/alternatives.sh makes it",
        file=sys.stderr,
    )
    return False


def save(path: Path, **arrays: npt.ArrayLike) -> Path:
    """Arrays as the worker reads them."""
    np.savez(path, **{name: np.asarray(values) for name, values in arrays.items()})
    return path
