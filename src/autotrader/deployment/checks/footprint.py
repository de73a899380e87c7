"""What a model costs to serve: memory and time, measured in a process of its own.

In this process memory that was used and freed before would hide what loading takes, and a file that
brings its runtime down would take the controller along.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.domain.thresholds import DEPLOYMENT_CHECKS
from autotrader.domain.verdicts import Finding, Severity
from autotrader.registry.onnx_model import OnnxModel

PATIENCE_SECONDS = 60.0
# Single rows that are timed in a round: its 99th percentile then stands on 20 of them. What else the
# machine does only ever adds to a time, so that the best of some rounds is the nearest to the model's own.
CALLS = 2_000
ROUNDS = 3
_WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Footprint:
    """What was measured.

    Attributes
    ----------
    memory_bytes : int
        Growth of resident memory from loading the model and using it.
    p50_seconds, p99_seconds : float
        Of a prediction of one row, in the best round.
    """

    load_seconds: float
    memory_bytes: int
    p50_seconds: float
    p99_seconds: float


def measure_footprint(path: Path, features: NDArray[np.float32]) -> Footprint:
    """Load the model in a new process, and ask it for real rows one by one.

    Parameters
    ----------
    features : float32[n, f]
        n >= 1; asked for again and again.

    Raises
    ------
    BadData
        If that process does not get to its end.
    """
    with tempfile.TemporaryDirectory(prefix="autotrader-footprint-") as folder:
        rows = Path(folder) / "rows.npy"
        np.save(rows, features)
        command = [sys.executable, "-m", __name__, str(path), str(rows)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise BadData(
                f"expected {path} to load and answer within {PATIENCE_SECONDS:g} s, was not done"
            ) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-300:] or "no message"
        raise BadData(f"expected {path} to load and answer, was exit {done.returncode}: {said}")
    return Footprint(**json.loads(done.stdout))


def check_footprint(found: Footprint) -> tuple[Finding, Finding]:
    """Latency and memory against what they may be."""
    limits = DEPLOYMENT_CHECKS
    slow = found.p99_seconds > limits.row_p99_seconds
    big = found.memory_bytes > limits.model_memory_bytes
    latency = Finding(
        "latency",
        Severity.CRITICAL if slow else Severity.HEALTHY,
        f"p99 of one row in process is {found.p99_seconds * 1e3:.3f} ms "
        f"(bound {limits.row_p99_seconds * 1e3:g} ms)",
        {"p50_seconds": found.p50_seconds, "p99_seconds": found.p99_seconds, "calls": ROUNDS * CALLS},
    )
    memory = Finding(
        "memory",
        Severity.CRITICAL if big else Severity.HEALTHY,
        f"the model takes {found.memory_bytes / 2**20:.1f} MiB "
        f"(bound {limits.model_memory_bytes / 2**20:g} MiB)",
        {"memory_bytes": found.memory_bytes, "load_seconds": found.load_seconds},
    )
    return latency, memory


def check_machine(*, free_memory_bytes: int, free_disk_bytes: int) -> Finding:
    """There is room for a second service beside the one that runs."""
    limits = DEPLOYMENT_CHECKS
    evidence = {"free_memory_bytes": free_memory_bytes, "free_disk_bytes": free_disk_bytes}
    lacking = [
        f"expected {limit / 2**20:.0f} MiB of {what}, was {free / 2**20:.0f} MiB"
        for what, free, limit in (
            ("free memory", free_memory_bytes, limits.free_memory_bytes),
            ("free disk", free_disk_bytes, limits.free_disk_bytes),
        )
        if free < limit
    ]
    if lacking:
        return Finding("machine", Severity.CRITICAL, "; ".join(lacking), evidence)
    memory, disk = free_memory_bytes / 2**30, free_disk_bytes / 2**30
    reason = f"{memory:.1f} GiB of memory and {disk:.1f} GiB of disk are free"
    return Finding("machine", Severity.HEALTHY, reason, evidence)


def _measure(path: Path, rows: Path) -> Footprint:
    features = np.load(rows)
    import onnxruntime  # noqa: F401 - its own weight is not the model's

    process = psutil.Process()
    before = process.memory_info().rss
    begin = time.perf_counter()
    model = OnnxModel(path)
    loaded = time.perf_counter() - begin
    seconds = np.empty(_WARM_UP + ROUNDS * CALLS)
    for i in range(len(seconds)):
        row = features[i % len(features)][None, :]
        begin = time.perf_counter()
        model.probabilities(row)
        seconds[i] = time.perf_counter() - begin
    rounds = seconds[_WARM_UP:].reshape(ROUNDS, CALLS)
    p50, p99 = np.quantile(rounds, (0.5, 0.99), axis=1).min(axis=1)
    return Footprint(loaded, process.memory_info().rss - before, float(p50), float(p99))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_measure(Path(sys.argv[1]), Path(sys.argv[2])))))
