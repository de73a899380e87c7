"""`test_connection`, as a person at a shell meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from autotrader import command
from autotrader.connectors.ibkr_connector.__main__ import VERBS as IBKR_VERBS
from autotrader.connectors.oanda.__main__ import VERBS as OANDA_VERBS
from autotrader.domain.instruments import Venue
from tests.fakes.market_data import made_bars
from tests.fakes.oanda_server import OandaServer
from tests.fakes.tws_gateway import TwsGateway

ROOT = Path(__file__).resolve().parents[3]


def run(package: str, verbs: dict[str, str], *options: str) -> int:
    return command.run_noun(f"autotrader.connectors.{package}", verbs, ["test_connection", *options])


def test_a_gateway_that_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with TwsGateway({}) as gateway:
        monkeypatch.setenv("AUTOTRADER_IBKR__PORT", str(gateway.port))
        assert run("ibkr_connector", IBKR_VERBS, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["venue"] == "ibkr"
    assert report["ok"] is True


def test_a_gateway_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOTRADER_IBKR__PORT", "1")
    assert run("ibkr_connector", IBKR_VERBS) == 3
    assert "ibkr is not reachable: expected TWS or Gateway at 127.0.0.1:1" in capsys.readouterr().out


def test_an_api_that_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with OandaServer({}) as server:
        monkeypatch.setenv("AUTOTRADER_OANDA__REST_URL", server.url)
        monkeypatch.setenv("AUTOTRADER_OANDA__TOKEN", server.token)
        assert run("oanda", OANDA_VERBS) == 0
    out = capsys.readouterr()
    assert "oanda is reachable" in out.out
    assert server.token not in out.out + out.err


def test_an_api_without_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("oanda", OANDA_VERBS) == 3
    assert "AUTOTRADER_OANDA__TOKEN" in capsys.readouterr().out


@contextmanager
def process(*words: str) -> Iterator[dict[str, Any]]:
    """A stand-in as a process of its own, and the line that it prints when it listens."""
    arguments = [sys.executable, "-m", *words]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield json.loads(running.stdout.readline())
        finally:
            running.terminate()


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    start, end = datetime(2024, 2, 23, tzinfo=UTC), datetime(2024, 2, 24, tzinfo=UTC)
    for venue, name in ((Venue.IBKR, "AAPL"), (Venue.OANDA, "EURUSD")):
        (tmp_path / venue.value).mkdir()
        made_bars(venue, name, start, end).write_parquet(tmp_path / venue.value / f"{name}_1m_made.parquet")
    return tmp_path


@pytest.mark.integration
def test_the_stand_ins_run_as_processes(
    bars: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "PYTHONUNBUFFERED", "1")
    with (
        process("tests.fakes.tws_gateway", "--bars", str(bars / "ibkr")) as gateway,
        process("tests.fakes.oanda_server", "--bars", str(bars / "oanda")) as api,
    ):
        assert gateway["symbols"] == ["AAPL"]
        assert api["instruments"] == ["EUR_USD"]
        monkeypatch.setenv("AUTOTRADER_IBKR__PORT", str(gateway["port"]))
        monkeypatch.setenv("AUTOTRADER_OANDA__REST_URL", api["url"])
        monkeypatch.setenv("AUTOTRADER_OANDA__TOKEN", api["token"])
        assert run("ibkr_connector", IBKR_VERBS) == 0
        assert run("oanda", OANDA_VERBS) == 0
    capsys.readouterr()
