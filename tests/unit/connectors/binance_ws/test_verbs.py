"""`python -m autotrader.connectors.binance_ws`: what its verbs say, and with which exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from autotrader import command
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.connectors.binance_ws import __main__ as noun
from autotrader.connectors.binance_ws.source import BinanceSource
from autotrader.domain.errors import ExitCode

from .conftest import MARKET_END


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, dict[str, Any]]]:
    def run(rest_url: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setenv("AUTOTRADER_BINANCE__REST_URL", rest_url)
        code = command.run_noun("autotrader.connectors.binance_ws", noun.VERBS, ["test_connection", "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_venue_that_answers_is_done(
    run: Callable[[str], tuple[int, dict[str, Any]]], exchange: StandInExchange
) -> None:
    code, report = run(exchange.rest_url)
    assert code == ExitCode.DONE
    assert report["ok"] is True
    assert report["latency_ms"] > 0


def test_a_venue_that_does_not_answer_is_unreachable(
    run: Callable[[str], tuple[int, dict[str, Any]]],
) -> None:
    code, report = run("http://127.0.0.1:1")
    assert code == ExitCode.UNREACHABLE
    assert report["ok"] is False
    assert "127.0.0.1:1" in report["reason"]


def test_a_name_server_that_does_not_answer_holds_nobody_up(
    run: Callable[[str], tuple[int, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()

    def asked_in_vain(*_args: object, **_options: object) -> None:
        silent.wait(200)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", asked_in_vain)
    monkeypatch.setattr("autotrader.connectors.binance_ws.source.CONNECTION_TEST_SECONDS", 0.3)
    began = time.monotonic()
    code, _ = run("https://venue.invalid")
    assert code == ExitCode.UNREACHABLE
    assert time.monotonic() - began < 60
    asking = [thread for thread in threading.enumerate() if thread.name == "resolve venue.invalid"]
    assert [thread.daemon for thread in asking] == [True]  # or the interpreter would wait for it
    silent.set()
    asking[0].join(60)


async def test_names_are_resolved(exchange: StandInExchange, connect: Callable[..., BinanceSource]) -> None:
    source = connect()
    by_name = exchange.rest_url.replace("127.0.0.1", "localhost")
    source._settings = source._settings.model_copy(update={"rest_url": by_name})
    assert (await source.test_connection()).ok


def test_the_package_imports_no_client_library() -> None:
    package = "autotrader.connectors.binance_ws"
    program = f"import sys, {package}.__main__; print({{'binance', 'aiohttp'}} & {{*sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("kind", "speed", "fields"),
    [
        ("kline", 600, {"ts", "open", "close", "volume"}),
        ("trade", 60, {"trade_id", "price", "quantity", "buyer_took"}),
        # An update each second of the market: a stand-in that falls behind never reaches its snapshot.
        ("depth", 10, {"update_id", "bids", "asks"}),
    ],
)
def test_a_stream_is_shown(
    market: SimulatedMarket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    speed: int,
    fields: set[str],
) -> None:
    now = MARKET_END - timedelta(hours=8)
    with running(StandInExchange(market, market_time=now, speed=speed)) as live:
        monkeypatch.setenv("AUTOTRADER_BINANCE__REST_URL", live.rest_url)
        monkeypatch.setenv("AUTOTRADER_BINANCE__STREAM_URL", live.stream_url)
        monkeypatch.setenv("AUTOTRADER_BINANCE__SOURCE", "SIMULATED")
        monkeypatch.setenv("AUTOTRADER_CLOCK__MARKET_TIME", now.isoformat())
        asked = ["stream", "--kind", kind, "--instruments", "BTCUSDT", "--count", "2", "--seconds", "30"]
        code = command.run_noun("autotrader.connectors.binance_ws", noun.VERBS, [*asked, "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert code == ExitCode.DONE
    assert (shown["kind"], shown["source"], shown["missed"]) == (kind, "SIMULATED", 0)
    assert len(shown["messages"]) == 2
    assert all(fields <= message.keys() for message in shown["messages"])


def test_a_stream_that_says_nothing_is_unreachable(
    exchange: StandInExchange, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOTRADER_BINANCE__STREAM_URL", exchange.stream_url)
    asked = ["stream", "--kind", "trade", "--instruments", "BTCUSDT", "--seconds", "0.3"]
    code = command.run_noun("autotrader.connectors.binance_ws", noun.VERBS, asked)
    assert code == ExitCode.UNREACHABLE
    assert "within 0.3 s" in capsys.readouterr().err
