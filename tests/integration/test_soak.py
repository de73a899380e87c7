"""A short soak: killed from outside again and again, the trader leaves what an undisturbed one leaves.

The long one, a month with 200 kills, is `benchmarks/soak.py --days 30 --kills 200`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


def test_kills_and_faults_lose_nothing_and_change_nothing() -> None:
    run = subprocess.run(
        [sys.executable, str(SOAK), "--days", "2", "--kills", "12", "--seed", "3"],
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["kills"] == 12
    assert told["differs"] == []
    for left in (told["undisturbed"], told["killed"]):
        assert left["counts"]["equity"] == 2 * 1440
        assert left["contiguous"]
        assert left["every bar has its signals"]
        assert (left["state"], left["status"]) == ("active", "stopped")
        assert left["counts"]["orders"] > 100
    assert told["killed"]["recoveries"] > told["undisturbed"]["recoveries"]
    memory = told["memory_mb"]
    assert memory["end"] < memory["warm"] + 40
