"""`autotrader quickstart` as a user runs it: a process, a terminal's output, a JSON object, and no trace."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from autotrader.adapters.processes import MARK
from tests.services import UNSCHEDULED

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    **UNSCHEDULED,
    "AUTOTRADER_MARKET_SOURCE": "simulated",
    "AUTOTRADER_SIMULATION__DAYS": "8",
    "AUTOTRADER_BINANCE__INSTRUMENTS": "BTCUSDT",
    "AUTOTRADER_TRAINING__LOOKBACK_DAYS": "4",
    "AUTOTRADER_TRAINING__EVALUATION_DAYS": "2",
    "AUTOTRADER_TRAINING__FOLD_DAYS": "1",
    "AUTOTRADER_TRAINING__TRIALS_PER_MODEL": "1",
    "AUTOTRADER_TRAINING__MODELS": "logistic",
}
KEYS = {
    "source",
    "instruments",
    "rows",
    "quality",
    "features",
    "model_name",
    "model_version",
    "semver",
    "gates",
    "decision",
    "deployment",
    "health_check",
    "trading",
    "seconds",
}


def autotrader(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **SMALL, "AUTOTRADER_HOME": str(home)}
    command = [sys.executable, "-m", "autotrader.cli", *words]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def strays(home: Path) -> list[str]:
    """Processes of this home's stack."""
    mark, found = str((home / "processes").resolve()), []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark or str(home) in " ".join(process.cmdline()):
                found.append(f"{process.pid} {process.name()}")
        except psutil.Error:
            continue
    return found


def listening(pid: int) -> set[str]:
    """Where the process and all below it listen; some below come and go."""
    parent, found = psutil.Process(pid), set()
    for process in (parent, *parent.children(recursive=True)):
        try:
            connections = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            if process == parent:
                raise
            continue
        found |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def test_from_nothing_to_a_gated_model_and_back_to_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        done = autotrader(home, "quickstart", "--json")
        assert done.returncode == 0, done.stderr[-4000:]

        said = done.stderr.splitlines()
        assert said[0].startswith("Market data: SIMULATED")
        assert any(re.search(r"check_data_health: success \(.* s\); 0 left", line) for line in said)
        summary = json.loads(done.stdout.splitlines()[-1])
        assert set(summary) >= KEYS
        assert summary["source"] == "SIMULATED"
        assert summary["rows"] == {"binance:BTCUSDT": 8 * 1440}
        assert summary["features"]["rows"] == 8 * 1440
        assert {"name", "value", "bound", "outcome"} <= set(summary["gates"][0])
        assert set(summary["seconds"]) == {
            "prepare",
            "data_pipeline",
            "training_pipeline",
            "deployment_pipeline",
            "feature_health_check",
            "trading",
        }
        assert summary["deployment"]["active_version"] == summary["semver"]
        traded = summary["trading"]
        assert (traded["source"], traded["state"], traded["bars"]) == ("SIMULATED", "active", 1440)
        assert (traded["orders"] == 0) is bool(traded["no_order_because"])
        assert Path(traded["picture"]).read_bytes().startswith(b"\x89PNG")

        status = autotrader(home, "status")
        assert status.returncode == 0, status.stdout
        assert "(stand-in, SIMULATED bars)" in status.stdout
        airflow = re.search(r"Airflow +(http://127\.0\.0\.1:\d+)", status.stdout)
        assert airflow is not None
        assert httpx.get(f"{airflow[1]}/api/v2/version", timeout=60, trust_env=False).is_success
        pids = json.loads(autotrader(home, "status", "--json").stdout)["processes"].values()
        assert {address for pid in pids for address in listening(pid)} == {"127.0.0.1"}

        api = re.search(r"API +(http://127\.0\.0\.1:\d+)", status.stdout)
        assert api is not None
        account = {"account": traded["account"]}
        shown = httpx.get(f"{api[1]}/api/pnl", params=account, timeout=60, trust_env=False).json()
        assert (shown["equity"], shown["total"]) == (traded["equity"], traded["pnl"])

        again = autotrader(home, "quickstart", "--json")
        assert again.returncode == 0, again.stderr[-4000:]
        continued = json.loads(again.stdout.splitlines()[-1])
        assert (continued["rows"], continued["semver"]) == (summary["rows"], summary["semver"])
        assert continued["deployment"] == summary["deployment"]
        assert continued["trading"] == traded
    finally:
        down = autotrader(home, "down")
    assert down.returncode == 0
    assert strays(home) == []

    cleaned = autotrader(home, "clean")
    assert cleaned.returncode == 0
    assert [path.name for path in home.iterdir()] == ["ledger"]


def test_two_at_once_on_one_home_are_one_too_many(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with (home / "quickstart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = autotrader(home, "quickstart")
    assert second.returncode == 4
    assert "another quickstart is at work" in second.stderr
