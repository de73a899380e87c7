"""The API as a process: its stream, its end, TLS, and a database that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.engine import Engine
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from autotrader.access.authentication import issue
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog, record_event
from autotrader.db.tokens import SqlTokens
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.orders import Side
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Scope
from tests.services import postgres
from tests.unit.apps.api.account import BTC, MARKET, MINUTE, TradedAccount

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60


def token_of(engine: Engine, name: str, scope: Scope) -> tuple[str, str]:
    """A token in force, and its id."""
    now = datetime.now(UTC)
    token, stored = issue(name, [scope], (), days=1, actor="tests", now=now)
    SqlTokens(engine).add(stored, Event(stored.id, EventType.AUDIT, "info", "made", "tests", now))
    return token, stored.id


def alert(engine: Engine, key: str) -> None:
    SqlEventLog(engine).record(
        Event(key, EventType.ALERT, "critical", f"alert {key}", "tests", datetime.now(UTC))
    )


@dataclass
class Served:
    """A running API over a SQLite database."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    url: str = ""

    @contextlib.contextmanager
    def running(self, **variables: str) -> Iterator[subprocess.Popen[str]]:
        environment = {
            **os.environ,
            "AUTOTRADER_HOME": str(self.folder),
            "AUTOTRADER_LOG__FORMAT": "json",
            **variables,
        }
        with (self.folder / "api.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "autotrader.apps.api", "--port", "0"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, self.log()
            self.url = json.loads(line)["url"]
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self) -> str:
        return (self.folder / "api.log").read_text()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE_SECONDS, trust_env=False, **options)

    def stream(self, query: str = "", **options: Any) -> connect:
        url = f"{self.url.replace('http', 'ws', 1)}/api/stream{query}"
        return connect(url, proxy=None, open_timeout=PATIENCE_SECONDS, **options)


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    made = open_database(f"sqlite:///{home}/autotrader.db")
    yield made
    made.dispose()


@pytest.fixture
def served(home: Path, engine: Engine) -> Served:
    return Served(home)


async def read(stream: ClientConnection, wanted: str) -> dict[str, Any]:
    """The next message of the kind."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            message: dict[str, Any] = json.loads(await stream.recv())
            if message["type"] == wanted:
                return message


async def test_a_stream_tells_what_happens_and_goes_on_where_it_was_left(
    served: Served, engine: Engine
) -> None:
    account = TradedAccount(SqlTradingRecords(engine), now=datetime.now(UTC))
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    with served.running():
        async with served.stream() as stream:
            hello = await read(stream, "hello")
            assert [p["quantity"] for p in hello["data"]["positions"]["positions"]] == ["1"]
            account.trade(BTC, Side.BUY, "1", "60000", MARKET + MINUTE)
            assert (await read(stream, "fill"))["data"]["fill_id"] == "2"
            position = await read(stream, "position")
            assert (position["data"]["quantity"], position["data"]["revision"]) == (
                "2",
                account.state.revision,
            )
            alert(engine, "one")
            seen = await read(stream, "alert")
            assert seen["data"]["key"] == "one"
        async with served.stream("?kinds=alert") as other:
            await read(other, "hello")
            alert(engine, "two")
            assert (await read(other, "alert"))["data"]["key"] == "two"
        async with served.stream(f"?after={seen['cursor']}") as again:
            assert (await read(again, "alert"))["data"]["key"] == "two"
        for query, status in (("?after=x.1", 410), ("?kinds=gossip", 422), ("?account=/", 422)):
            with pytest.raises(InvalidStatus) as refused:
                async with served.stream(query):
                    pass
            assert refused.value.response.status_code == status
            body = json.loads(refused.value.response.body)
            assert set(body) == {"error", "expected", "was", "request_id"}
    assert "Traceback" not in served.log()


async def test_a_page_of_another_site_gets_no_stream_but_a_token_does(served: Served, engine: Engine) -> None:
    token, _ = token_of(engine, "alice", Scope.READ)
    foreign = {"Origin": "https://attacker.example"}
    with served.running():
        with pytest.raises(InvalidStatus) as refused:
            async with served.stream(additional_headers=foreign):
                pass
        assert refused.value.response.status_code == 401
        headers = {**foreign, "Authorization": f"Bearer {token}"}
        async with served.stream(additional_headers=headers) as stream:
            assert (await read(stream, "hello"))["data"]["positions"] is None


async def test_a_client_that_does_not_read_is_dropped_with_the_cursor_to_resume_from(
    served: Served, engine: Engine
) -> None:
    text = "x" * 200_000
    with served.running():
        async with served.stream("?kinds=alert", max_queue=1, close_timeout=30) as slow:
            await read(slow, "hello")
            with engine.begin() as connection:  # at once: a client that is silent for long is cut off, too
                for k in range(400):
                    event = Event(f"a{k}", EventType.ALERT, "info", text, "tests", datetime.now(UTC))
                    record_event(connection, event)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while "stream_dropped_clients_total 1.0" not in served.get("/metrics").text:
                assert time.monotonic() < deadline, served.log()[-2000:]
                await asyncio.sleep(0.1)
            messages = []
            with contextlib.suppress(ConnectionClosed):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while True:
                        messages.append(await read(slow, "alert"))
        got, cursor = [m["data"]["key"] for m in messages], messages[-1]["cursor"]
        assert 0 < len(got) < 400
        async with served.stream(f"?kinds=alert&after={cursor}", max_size=None) as again:
            while len(got) < 400:
                got.append((await read(again, "alert"))["data"]["key"])
        assert got == [f"a{k}" for k in range(400)]


def test_it_ends_on_sigterm_with_open_streams(served: Served) -> None:
    async def hold() -> None:
        async with served.stream() as stream:
            await read(stream, "hello")
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await stream.recv()
            await asyncio.to_thread(process.wait, PATIENCE_SECONDS)

    with served.running() as process:
        asyncio.run(hold())
        assert process.returncode == 0
    assert "Traceback" not in served.log()


async def test_a_database_that_goes_away_is_unhealthy_within_a_round_of_checks(
    served: Served, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres(tmp_path))
        engine = open_database(url)
        TradedAccount(SqlTradingRecords(engine), now=datetime.now(UTC))
        engine.dispose()
        with served.running(AUTOTRADER_DATABASE__URL=url):
            assert served.get("/api/positions").status_code == 200
            deadline = time.monotonic() + PATIENCE_SECONDS
            while served.get("/health").json()["checks"]["database"]["status"] != "HEALTHY":
                assert time.monotonic() < deadline, served.log()[-2000:]
                await asyncio.sleep(0.1)
            stack.close()
            begun = time.monotonic()
            listed = served.get("/api/positions")
            assert (listed.status_code, listed.json()["error"]) == (503, "service unavailable")
            while (answer := served.get("/health")).status_code != 503:
                assert time.monotonic() - begun < 55, answer.text  # before a second round
                await asyncio.sleep(0.5)
            assert answer.json()["checks"]["database"]["status"] == "UNHEALTHY"
            assert 'component_health{component="database"} 0.0' in served.get("/metrics").text


def test_tls_is_spoken_where_a_certificate_is_set(served: Served, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    variables = {
        "AUTOTRADER_API__TLS_CERTIFICATE": str(certificate),
        "AUTOTRADER_API__TLS_KEY": str(key),
    }
    with served.running(**variables):
        assert served.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        assert served.get("/api/events", verify=trusting).status_code == 200


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AUTOTRADER_API__TLS_KEY": "key.pem"}, "AUTOTRADER_API__TLS_KEY: expected both or none, was one"),
        (
            {"AUTOTRADER_API__TLS_KEY": "k.pem", "AUTOTRADER_API__TLS_CERTIFICATE": "c.pem"},
            "AUTOTRADER_API__TLS_CERTIFICATE: expected a file, was none at c.pem",
        ),
    ],
)
def test_half_a_certificate_is_refused_at_the_start(
    served: Served, variables: dict[str, str], message: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autotrader.apps.api", "--port", "0"],
        env={**os.environ, "AUTOTRADER_HOME": str(served.folder), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
