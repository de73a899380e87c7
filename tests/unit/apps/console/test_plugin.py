"""The plugin's file: light for every process of Airflow, absent with a reason where it cannot be shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLUGIN = Path(__file__).resolve().parents[4] / "plugins" / "trading.py"
# As in Airflow 3.0: plugins have no pages there.
OLD = """
import logging, runpy, sys, types
logging.basicConfig()
sys.modules["airflow"] = types.ModuleType("airflow")
manager = sys.modules["airflow.plugins_manager"] = types.ModuleType("airflow.plugins_manager")
manager.AirflowPlugin = type("AirflowPlugin", (), {})
print("TradingPlugin" in runpy.run_path(sys.argv[1]))
"""
LIGHT = """
import runpy, sys
import airflow.plugins_manager, airflow.sdk
before = set(sys.modules)
assert "TradingPlugin" in runpy.run_path(sys.argv[1])
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def _run(program: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, str(PLUGIN)],
        env={"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def test_an_older_airflow_is_told_why_the_page_is_absent(tmp_path: Path) -> None:
    done = _run(OLD, tmp_path)
    assert done.stdout.strip() == "False"
    assert "the page Trading is absent: expected Airflow 3.1 or newer" in done.stderr


def test_what_every_process_of_airflow_loads_is_light(tmp_path: Path) -> None:
    heavy = {"fastapi", "sqlalchemy", "polars", "pydantic", "structlog", "numba"}
    assert not heavy & set(_run(LIGHT, tmp_path).stdout.strip("[]\n").replace("'", "").split(", "))
