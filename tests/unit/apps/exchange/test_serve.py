"""The exchange as a process: it says where it is, and ends when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autotrader import command
from autotrader.apps.exchange.serve import serve
from autotrader.domain.errors import ExitCode

from .conftest import ask


@pytest.mark.integration
def test_it_says_where_it_listens_and_ends_on_sigterm(tmp_path: Path) -> None:
    words = [
        "--host",
        "127.0.0.2",
        "--symbols",
        "BTCUSDT",
        "DOGEUSDT",
        "--fault",
        '{"kind": "server_error", "path": "ping"}',
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "autotrader.apps.exchange", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"AUTOTRADER_SIMULATION__DAYS": "1"},
    )
    with process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert line["source"] == "SIMULATED"
        assert line["symbols"] == ["BTCUSDT", "DOGEUSDT"]
        assert line["market_time"] == line["last_close"] == "2024-03-01T00:00:00+00:00"
        assert line["rest_url"].startswith("http://127.0.0.2:")
        statuses = [ask(f"{line['rest_url']}/api/v3/ping")[0] for _ in range(2)]
        assert statuses == [500, 200]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--market", "recorded"], "--folder"),
        (["--symbols", "BTCUSDT", "--fault", "{}"], "expected a fault"),
        (["--symbols", "BTCUSDT", "--balance", "USDT=NaN"], "expected asset=amount"),
    ],
)
def test_what_cannot_be_served_is_a_usage_error(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(serve, words) == ExitCode.USAGE
    assert reason in capsys.readouterr().err


def test_a_folder_without_bars_is_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(serve, ["--market", "recorded", "--folder", str(tmp_path)]) == ExitCode.FAILED
    assert str(tmp_path) in capsys.readouterr().err
