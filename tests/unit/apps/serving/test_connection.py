"""A head that comes again is not parsed again, and nobody can tell."""

from __future__ import annotations

import asyncio
import random

import pytest

from autotrader.apps.serving.connection import Connection
from autotrader.apps.serving.exchange import Answer, Exchange
from autotrader.apps.serving.heads import KnownHead
from autotrader.apps.serving.http_server import HttpServer

PLACES = 3


class Reverse:
    """Answers with the body backwards; `/now` needs none; `closed` lets nobody in."""

    max_body_bytes = 1_000

    def __init__(self) -> None:
        self.closed = False
        self.seen: list[tuple[bytes, bytes, dict[bytes, bytes]]] = []

    def admit(self, exchange: Exchange) -> Answer | None:
        self.seen.append((exchange.method, exchange.path, exchange.headers))
        if self.closed:
            return Answer(401, b"closed")
        return Answer(200, b"now") if exchange.path == b"/now" else None

    def respond(self, exchange: Exchange) -> Answer:
        return Answer(200, exchange.body[::-1])

    def refuse(self, status: int, error: str, *, expected: str, was: str) -> Answer:
        return Answer(status, f"{error}, {expected}, {was}".encode())

    def observe(self, exchange: Exchange, status: int, seconds: float) -> None:
        return


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.written += b"<end>"

    def close(self) -> None:
        return


class Harness:
    def __init__(self) -> None:
        self.application = Reverse()
        self.server = HttpServer(self.application, max_concurrency=PLACES)
        self.wire = Wire()
        self.connection = Connection(self.server)

    async def receive(self, *pieces: bytes) -> bytes:
        """What is written when these arrive, each by itself, the server working in between."""
        self.server._loop = asyncio.get_running_loop()
        if self.connection not in self.server.connections:
            self.connection.connection_made(self.wire)
        before = len(self.wire.written)
        for piece in pieces:
            self.connection.data_received(piece)
            await asyncio.sleep(0)
        return self.wire.written[before:]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Requests whose head was known."""
    taken: list[bytes] = []
    take = Connection._take_known

    def counted(self: Connection, head: KnownHead, data: bytes) -> None:
        taken.append(data)
        take(self, head, data)

    monkeypatch.setattr(Connection, "_take_known", counted)
    return taken


def post(body: bytes, head: bytes = b"host: x\r\n") -> bytes:
    return b"POST /echo HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


async def test_the_same_head_with_another_body_is_another_request(known: list[bytes]) -> None:
    harness = Harness()
    answers = [await harness.receive(post(body)) for body in (b"abc", b"def", b"\r\n\r", b"ghijk", b"lmnop")]
    assert [a.partition(b"\r\n\r\n")[2] for a in answers] == [b"cba", b"fed", b"\r\n\r", b"kjihg", b"ponml"]
    assert known == [post(b"def"), post(b"\r\n\r"), post(b"lmnop")]
    assert len(set(map(repr, harness.application.seen))) == 2


async def test_who_may_ask_is_looked_at_each_time(known: list[bytes]) -> None:
    harness = Harness()
    assert b" 200 " in await harness.receive(post(b"abc"))
    harness.application.closed = True
    assert b" 401 " in await harness.receive(post(b"abc"))
    harness.application.closed = False
    assert b" 200 " in await harness.receive(post(b"abc"))
    assert len(known) == 2


async def test_a_known_head_takes_a_place_like_any_other(known: list[bytes]) -> None:
    harness = Harness()
    await harness.receive(post(b"abc"))
    harness.server.under_way = PLACES
    assert b" 503 " in await harness.receive(post(b"abc"))
    harness.server.under_way = 0
    assert b" 200 " in await harness.receive(post(b"abc"))
    assert (harness.server.under_way, len(known)) == (0, 2)


async def test_a_mistake_of_ours_is_answered_and_ends_the_connection(
    known: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness()
    await harness.receive(post(b"abc"))
    monkeypatch.setattr(harness.application, "admit", lambda _: 1 / 0)
    answer = await harness.receive(post(b"abc"))
    assert b" 500 " in answer
    assert answer.endswith(b"<end>")
    assert len(known) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /echo HTTP/1.1\ncontent-length: 4\n\n\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: 4\r\n\n\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: 4\n\r\n\r\n\r\n",
    ],
)
async def test_no_head_ends_with_bare_line_feeds(raw: bytes) -> None:
    assert b" 400 " in await Harness().receive(raw)


STRANGE = (
    post(b"abc"),
    post(b"xyz"),
    post(b"\r\n\r\n"),
    post(b"abc") + b"\r\n",
    post(b""),
    post(b"abc", b"expect: 100-continue\r\n"),
    post(b"abc", b"connection: close\r\n"),
    post(b"x" * 1_001),
    b"\r\n" + post(b"abc"),
    b"GET /now HTTP/1.1\r\n\r\n",
    b"GET /now HTTP/1.1\n\n" + post(b"abc"),
    b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\ncontent-length: 4\n\n\r\n\r\n\r\n\r\n",
    b"POST /echo HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    b"POST /echo HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc",
    b"POST /echo HTTP/1.1\r\ncontent-length: 3\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nabc",
)


async def test_whatever_arrives_in_whatever_pieces_the_answers_are_those_of_the_parser(
    known: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(5)
    for _ in range(300):
        requests = [chance.choice(STRANGE) for _ in range(4)]
        requests = [r for r in requests for _ in range(chance.choice((1, 2, 3)))]
        stream = b"".join(requests)
        cuts = sorted(chance.sample(range(1, len(stream)), 3))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        for arriving in (requests, pieces):
            ours = await Harness().receive(*arriving)
            with monkeypatch.context() as patched:
                patched.setattr(KnownHead, "begins", lambda *_: False)
                assert ours == await Harness().receive(*arriving), arriving
    assert len(known) > 100
