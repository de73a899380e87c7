"""A month of bars, killed again and again: `python benchmarks/soak.py --days 30 --kills 200 --seed 1`.

A trader in a process of its own replays recorded bars on paper at full speed, with faults of the venue
injected by order and fill. It is ended by SIGKILL from outside at seeded moments, most of them while it
trades and some while it starts, and started again until it is done. Another one with the same faults is
never killed: both must leave the same orders, fills, positions, cash, equity curve, signals and decision
hash. Memory is that of the undisturbed one, after 1,500 bars and at the end. Without options it is a
short one: 2 days, 12 kills.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import emit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SHARE_AT_START = 0.15  # of the kills
STARTING_SECONDS = 3.0  # within which these come


def start(folder: Path, days: int, seed: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.soaking", str(folder), str(days), str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def finished(child: subprocess.Popen[str]) -> dict[str, Any]:
    """What the child says at its end."""
    told, _ = child.communicate(timeout=3600)
    if child.returncode:
        raise SystemExit(f"expected a trader that ends in order, was exit code {child.returncode}")
    last: dict[str, Any] = json.loads(told.splitlines()[-1])
    return last


def kill_after(child: subprocess.Popen[str], moments: random.Random, slice_seconds: float) -> bool:
    """Kill the child at a moment by chance; False if it had come to its end before."""
    assert child.stdout is not None
    if moments.random() < SHARE_AT_START:
        wait = moments.uniform(0, STARTING_SECONDS)
    else:
        child.stdout.readline()  # it trades
        wait = moments.uniform(0, 2 * slice_seconds)
    try:
        child.wait(wait)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        child.stdout.close()
        return True
    return False


def soak(days: int, kills: int, seed: int) -> dict[str, object]:
    from tests.soaking import digest

    with tempfile.TemporaryDirectory() as calm, tempfile.TemporaryDirectory() as killed:
        calm_folder, killed_folder = Path(calm), Path(killed)
        alone = finished(start(calm_folder, days, seed))
        moments = random.Random(seed)  # noqa: S311 - no secret
        done, begun = 0, time.monotonic()
        slice_seconds = alone["seconds"] / (kills + 1)
        ended = None
        while done < kills and ended is None:
            child = start(killed_folder, days, seed)
            if kill_after(child, moments, slice_seconds):
                done += 1
            else:
                ended = child
        if ended is None:
            finished(start(killed_folder, days, seed))
        elif ended.returncode:
            raise SystemExit(f"expected a trader that ends in order, was exit code {ended.returncode}")
        seconds = time.monotonic() - begun
        undisturbed, survived = digest(calm_folder), digest(killed_folder)
    hashes = (undisturbed.pop("hashes"), survived.pop("hashes"))
    assert isinstance(hashes[0], dict)
    assert isinstance(hashes[1], dict)
    return {
        "name": "soak",
        "days": days,
        "seed": seed,
        "kills": done,
        "load_average": round(os.getloadavg()[0], 1),
        "bars_per_second": round(alone["bars"] / alone["seconds"]),
        "undisturbed_seconds": alone["seconds"],
        "with_kills_seconds": round(seconds, 1),
        "memory_mb": {"warm": alone["warm_mb"], "end": alone["end_mb"]},
        "differs": [name for name in hashes[0] if hashes[0][name] != hashes[1][name]],
        "undisturbed": undisturbed,
        "killed": survived,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    emit(soak(asked.days, asked.kills, asked.seed))


if __name__ == "__main__":
    main()
