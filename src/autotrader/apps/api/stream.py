"""What happens, told to all that listen, as it happens.

One poller a process asks the database; each client has a bounded queue. Messages are numbered, and
the newest are kept, so that a client that comes back with the cursor of its last message gets what
it missed, each message once. A cursor of another process, or too old a one, is refused: whoever has
it reads the lists again. A client that does not keep up is dropped, so that it can harm no other.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from autotrader.apps.api.metrics import ApiMetrics
from autotrader.domain.errors import AutotraderError
from autotrader.domain.thresholds import API

BURST = API.stream_queue // 4
BURST_SECONDS = 0.01

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to be told.

    Attributes
    ----------
    kind : str
        `position`, `fill` or `alert`.
    account : str or None
        None of what concerns all.
    data : Mapping
        As JSON.
    """

    kind: str
    account: str | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    number: int
    happening: Happening


@dataclass(eq=False, slots=True)
class Client:
    """A listener's queue.

    Attributes
    ----------
    account : str
        What concerns another account is not told.
    kinds : frozenset of str
    ready, dropped : asyncio.Event
        Something is in the queue; or the queue was full, and the client is told no more.
    """

    account: str
    kinds: frozenset[str]
    queue: deque[Message] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: asyncio.Event = field(default_factory=asyncio.Event)

    def wants(self, message: Message) -> bool:
        happening = message.happening
        return happening.kind in self.kinds and happening.account in (None, self.account)


class Stream:
    """Numbers what happens, keeps the newest, and hands it to every client.

    Used by one event loop alone.

    Parameters
    ----------
    metrics : ApiMetrics

    Attributes
    ----------
    begun : asyncio.Event
        What happens from then on is told.
    """

    def __init__(
        self, metrics: ApiMetrics, *, queue: int = API.stream_queue, history: int = API.stream_history
    ) -> None:
        self._metrics = metrics
        self._queue = queue
        self._era = uuid.uuid4().hex[:12]  # numbers of another process mean other messages
        self._history: deque[Message] = deque(maxlen=history)
        self._number = 0
        self._clients: set[Client] = set()
        self.begun = asyncio.Event()

    @property
    def clients(self) -> int:
        return len(self._clients)

    def cursor(self, number: int | None = None) -> str:
        """Where a message stands, or the newest one."""
        return f"{self._era}.{self._number if number is None else number}"

    def publish(self, happenings: Sequence[Happening]) -> None:
        """Tell every client, in this order."""
        for happening in happenings:
            self._number += 1
            message = Message(self._number, happening)
            self._history.append(message)
            self._metrics.stream_messages.inc()
            for client in list(self._clients):
                self._hand(client, message)

    def join(
        self, account: str, kinds: frozenset[str], after: str | None
    ) -> tuple[Client, list[Message]] | None:
        """A new client, and what it missed since its cursor; None if that is not known any more."""
        missed: list[Message] = []
        client = Client(account, kinds)
        if after is not None:
            number = self._known(after)
            if number is None:
                return None
            missed = [m for m in self._history if m.number > number and client.wants(m)]
        self._clients.add(client)
        self._metrics.stream_clients.set(len(self._clients))
        return client, missed

    def leave(self, client: Client) -> None:
        self._clients.discard(client)
        self._metrics.stream_clients.set(len(self._clients))

    def _known(self, cursor: str) -> int | None:
        era, _, text = cursor.partition(".")
        if era != self._era or not text.isascii() or not text.isdecimal() or len(text) > 18:
            return None
        number = int(text)
        oldest = self._history[0].number if self._history else self._number + 1
        return number if oldest - 1 <= number <= self._number else None

    def _hand(self, client: Client, message: Message) -> None:
        if not client.wants(message):
            return
        if len(client.queue) >= self._queue:
            client.dropped.set()
            self._metrics.stream_dropped.inc()
            self.leave(client)
            _log.warning("a stream client does not keep up", waiting=len(client.queue))
        else:
            client.queue.append(message)
            client.ready.set()


class Poller:
    """Asks for what is new, again and again, and publishes it.

    Parameters
    ----------
    look : Callable
        What happened since it was called last; may block.
    stream : Stream
    metrics : ApiMetrics
    """

    def __init__(self, look: Callable[[], Sequence[Happening]], stream: Stream, metrics: ApiMetrics) -> None:
        self._look = look
        self._stream = stream
        self._metrics = metrics

    async def keep(self, *, pause_seconds: float = API.stream_poll_seconds) -> None:
        """Until cancelled; an outage is logged once, and what it hid is told when it is over."""
        failing = False
        while True:
            try:
                happenings = await asyncio.to_thread(self._look)
                self._stream.begun.set()
                await self._tell(happenings)
                failing = False
            except AutotraderError as error:
                self._metrics.stream_failures.inc()
                if not failing:
                    _log.error("the streams stand still", reason=str(error))
                failing = True
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look comes
                self._metrics.stream_failures.inc()
                if not failing:
                    _log.error("a fault of ours holds up the streams", exc_info=error)
                failing = True
            await asyncio.sleep(pause_seconds)

    async def _tell(self, happenings: Sequence[Happening]) -> None:
        # A burst must not fill the queue of a client that reads: it gets time in between.
        for begin in range(0, len(happenings), BURST):
            self._stream.publish(happenings[begin : begin + BURST])
            await asyncio.sleep(BURST_SECONDS)
