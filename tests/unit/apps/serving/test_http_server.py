"""The server underneath: what is answered, in which order, and who is turned away when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from autotrader.apps.serving import connection
from autotrader.apps.serving.exchange import Answer, Exchange, Work
from autotrader.apps.serving.http_server import HttpServer, bind
from autotrader.domain.errors import ConfigurationError

PLACES = 4
SOON = 60.0  # seconds, for what takes milliseconds


class Echo:
    """Answers with the body; `/now` needs none."""

    max_body_bytes = 1_000

    def __init__(self) -> None:
        self.answered: list[int] = []
        self.after: Callable[[], None] = lambda: None
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.worked: list[bytes] = []

    def admit(self, exchange: Exchange) -> Answer | None:
        return Answer(200, b"now", b"text/plain") if exchange.path == b"/now" else None

    def respond(self, exchange: Exchange) -> Answer | Work:
        if exchange.body.startswith(b"long"):
            return Work(partial(self._work, exchange.body), lambda done: Answer(200, done.result()))
        return Answer(200, exchange.body, b"text/plain")

    def _work(self, body: bytes) -> bytes:
        self.begun.release()
        assert self.may_end.wait(SOON)
        self.worked.append(body)
        if body == b"long and bad":
            raise ValueError(body)
        return body

    def refuse(self, status: int, error: str, *, expected: str, was: str) -> Answer:
        return Answer(status, f"{error}: expected {expected}, was {was}".encode(), b"text/plain")

    def observe(self, exchange: Exchange, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.answered.append(status)
        self.after()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    def post(self, body: bytes, *, headers: str = "", length: int | None = None) -> None:
        size = len(body) if length is None else length
        self.send(
            f"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n{headers}\r\n".encode() + body
        )

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(SOON):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), headers, body

    async def is_closed(self) -> bool:
        async with asyncio.timeout(SOON):
            return await self.reader.read() == b""


def _break_off(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # with a reset


class Harness:
    def __init__(self) -> None:
        self.application = Echo()
        self.server = HttpServer(self.application, max_concurrency=PLACES)
        self.socket = bind("127.0.0.1", 0)
        self.port: int = self.socket.getsockname()[1]
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]

    async def work_begun(self) -> None:
        assert await asyncio.to_thread(self.application.begun.acquire, timeout=SOON)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(SOON):
            while not holds():
                await asyncio.sleep(0.001)

    async def until_under_way(self, count: int) -> None:
        await self.until(lambda: self.server.under_way == count)


@pytest.fixture
async def harness(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)
    made = Harness()
    await made.server.start(made.socket)
    yield made
    made.application.may_end.set()
    await made.server.drain(0)
    for client in made.clients:
        client.writer.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


async def test_requests_of_one_connection_are_answered_in_their_order(harness: Harness) -> None:
    client = await harness.connect()
    client.post(b"one")
    client.send(b"GET /now HTTP/1.1\r\n\r\n")  # needs no turn, and waits all the same
    client.post(b"three")
    assert [(await client.answer())[2] for _ in range(3)] == [b"one", b"now", b"three"]
    assert harness.application.answered == [200, 200, 200]
    assert harness.server.under_way == 0


async def test_a_request_may_arrive_byte_by_byte_and_in_chunks(harness: Harness) -> None:
    client = await harness.connect()
    for byte in b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
        client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await client.answer())[2] == b"abcde"


async def test_requests_beyond_the_bound_are_shed_while_bodies_arrive_slowly(harness: Harness) -> None:
    slow = [await harness.connect() for _ in range(PLACES)]
    for client in slow:
        client.post(b"a", length=2)
    client = await harness.connect()
    await harness.until_under_way(PLACES)
    client.post(b"x")
    status, _, body = await client.answer()
    assert (status, body) == (
        503,
        b"overloaded: expected at most 4 requests under way, was one more: try again",
    )
    client.send(b"GET /now HTTP/1.1\r\n\r\n")
    assert (await client.answer())[0] == 200, "health is told under load, too"
    for one in slow:
        one.send(b"b")
        assert (await one.answer())[2] == b"ab"
    assert harness.server.under_way == 0
    client.post(b"x")
    assert (await client.answer())[0] == 200


async def test_requests_that_arrive_together_wait_within_the_bound_and_are_shed_beyond(
    harness: Harness,
) -> None:
    client = await harness.connect()
    client.send(b"POST /echo HTTP/1.1\r\ncontent-length: 1\r\n\r\nx" * (PLACES + 3))
    statuses = [(await client.answer())[0] for _ in range(PLACES + 3)]
    assert statuses == [200] * PLACES + [503] * 3


async def test_a_caller_who_hangs_up_gives_its_place_back(harness: Harness) -> None:
    for _ in range(PLACES * 2):
        client = await harness.connect()
        client.post(b"a", length=2)
        await harness.until_under_way(1)
        client.writer.close()
        await harness.until_under_way(0)


@pytest.mark.parametrize("headers", ["", "connection: close\r\n"])
async def test_a_caller_who_breaks_off_while_it_is_answered_harms_nobody_else(
    harness: Harness, headers: str
) -> None:
    other = await harness.connect()
    client = socket.create_connection(("127.0.0.1", harness.port))

    def break_off() -> None:
        harness.application.after = lambda: None
        _break_off(client)

    harness.application.after = break_off
    client.sendall(f"POST /echo HTTP/1.1\r\ncontent-length: 1\r\n{headers}\r\nx".encode())
    await harness.until(lambda: harness.application.answered)
    other.post(b"y")
    assert (await other.answer())[2] == b"y"
    assert harness.server.under_way == 0


async def test_a_caller_who_says_that_it_sends_no_more_is_answered(harness: Harness) -> None:
    client = await harness.connect()
    client.post(b"last")
    client.writer.write_eof()
    assert (await client.answer())[2] == b"last"
    assert await client.is_closed()


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_refused_before_it_has_arrived(
    harness: Harness, declared: bool
) -> None:
    client = await harness.connect()
    if declared:
        client.post(b"x" * 10, length=10_000)
    else:
        client.send(b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n800\r\n" + b"x" * 1_500)
    status, headers, _ = await client.answer()
    assert (status, headers["connection"]) == (413, "close")
    assert await client.is_closed()
    assert harness.server.under_way == 0


async def test_a_caller_may_ask_before_it_sends_the_body(harness: Harness) -> None:
    client = await harness.connect()
    client.post(b"", length=2, headers="expect: 100-continue\r\n")
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"ok")
    assert (await client.answer())[2] == b"ok"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_told_so_and_closed(harness: Harness, raw: bytes, status: int) -> None:
    client = await harness.connect()
    client.send(raw)
    assert (await client.answer())[0] == status
    assert await client.is_closed()


async def test_a_head_without_end_is_refused(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", SOON)  # or the answer is lost while we still send
    client = await harness.connect()
    client.send(b"GET /now HTTP/1.1\r\n")
    for _ in range(60):
        client.send(b"a: " + b"x" * 1_000 + b"\r\n")
        await asyncio.sleep(0.001)
    assert (await client.answer())[0] == 431


async def test_a_request_that_does_not_arrive_and_a_connection_that_is_not_used_are_closed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "READ_SECONDS", 0.05)
    late = await harness.connect()
    late.post(b"a", length=2)
    assert (await late.answer())[0] == 408
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.05)
    assert await (await harness.connect()).is_closed()
    assert harness.server.under_way == 0


async def test_head_is_answered_without_a_body(harness: Harness) -> None:
    client = await harness.connect()
    client.send(b"HEAD /now HTTP/1.1\r\n\r\nGET /now HTTP/1.1\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert b"content-length: 3" in head
    assert (await client.answer())[2] == b"now"


async def test_connections_are_bounded(harness: Harness) -> None:
    harness.server.max_connections = 2
    for _ in range(2):
        (await harness.connect()).send(b"GET /now HTTP/1.1\r\n\r\n")
    assert (await harness.clients[0].answer())[0] == 200
    one_more = await harness.connect()
    assert (await one_more.answer())[0] == 503
    assert await one_more.is_closed()


async def test_a_drain_answers_what_is_under_way_and_takes_no_more(harness: Harness) -> None:
    busy, idle = await harness.connect(), await harness.connect()
    busy.post(b"a", length=2)
    await harness.until(lambda: len(harness.server.connections) == 2)
    await harness.until_under_way(1)
    drain = asyncio.create_task(harness.server.drain(SOON))
    await harness.until(lambda: harness.server.draining)
    idle.post(b"still")  # it could not know
    status, headers, body = await idle.answer()
    assert (status, headers["connection"], body) == (200, "close", b"still")
    with pytest.raises(OSError, match=r".*"):
        await harness.connect()
    assert not drain.done()
    busy.send(b"b")
    assert (await busy.answer())[2] == b"ab"
    assert await drain is True


async def test_a_drain_ends_though_a_body_never_arrives(harness: Harness) -> None:
    client = await harness.connect()
    client.post(b"a", length=2)
    await harness.until_under_way(1)
    assert await harness.server.drain(0.1) is False


async def test_long_work_holds_up_nobody_but_those_behind_it_on_its_connection(harness: Harness) -> None:
    client, other = await harness.connect(), await harness.connect()
    client.post(b"long")
    client.post(b"behind")
    await harness.work_begun()
    other.post(b"short")
    assert (await other.answer())[2] == b"short"
    assert harness.server.under_way == 1
    harness.application.may_end.set()
    assert [(await client.answer())[2] for _ in range(2)] == [b"long", b"behind"]
    assert harness.server.under_way == 0


async def test_long_work_takes_a_place_until_it_is_done_though_nobody_waits_for_it(harness: Harness) -> None:
    other = await harness.connect()
    client = socket.create_connection(("127.0.0.1", harness.port))
    client.sendall(b"POST /echo HTTP/1.1\r\ncontent-length: 4\r\n\r\nlong")
    await harness.work_begun()
    await harness.until(lambda: len(harness.server.connections) == 2)
    _break_off(client)
    await harness.until(lambda: len(harness.server.connections) == 1)
    for _ in range(PLACES - 1):
        other.post(b"a", length=1)
        assert (await other.answer())[0] == 200
    assert harness.server.under_way == 1
    harness.application.may_end.set()
    while harness.server.under_way:
        await asyncio.sleep(0.005)
    assert harness.application.worked == [b"long"]
    assert harness.application.answered == [200] * (PLACES - 1)


async def test_long_work_that_fails_costs_its_own_connection(harness: Harness) -> None:
    client, other = await harness.connect(), await harness.connect()
    harness.application.may_end.set()
    client.post(b"long and bad")
    assert await client.is_closed()
    other.post(b"well")
    assert (await other.answer())[2] == b"well"
    assert harness.server.under_way == 0


async def test_a_drain_waits_for_long_work(harness: Harness) -> None:
    client = await harness.connect()
    client.post(b"long")
    await harness.work_begun()
    draining = asyncio.create_task(harness.server.drain(SOON))
    await asyncio.sleep(0.1)
    assert not draining.done()
    harness.application.may_end.set()
    assert (await client.answer())[2] == b"long"
    assert await draining


async def test_a_mistake_in_the_server_is_one_500_and_no_end(harness: Harness) -> None:
    def broken(_: Exchange) -> Answer | None:
        raise ValueError("a mistake")

    harness.application.admit = broken  # type: ignore[method-assign]
    client = await harness.connect()
    client.post(b"x")
    assert (await client.answer())[0] == 500
    del harness.application.admit
    client = await harness.connect()
    client.post(b"x")
    assert (await client.answer())[0] == 200


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"expected 127.0.0.1:{port} to be free") as caught:
            bind("127.0.0.1", port)
    assert "\n" not in str(caught.value)
