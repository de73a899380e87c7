"""What server and application hand each other: a request, its answer, and who gives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from autotrader.apps.serving.threads import Done

JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole.

    Attributes
    ----------
    headers : bytes
        Further ones, each with its line end.
    """

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""


@dataclass(frozen=True, slots=True)
class Work:
    """What takes so long that others are answered meanwhile.

    Attributes
    ----------
    run : Callable
        Called in a thread; may raise.
    finish : Callable
        Called in the event loop with what became of it; gives the answer, never raises.
    """

    run: Callable[[], Any]
    finish: Callable[[Done], Answer]


class Exchange:
    """A request and, in the end, its answer.

    Attributes
    ----------
    headers : dict of bytes to bytes
        By name in lower case; of a name that comes twice, the last. Not to be changed: requests of
        one connection share it.
    body : bytes
        Empty until it is whole.
    began : float
        `perf_counter` at the first byte.
    """

    __slots__ = ("answer", "began", "body", "headers", "keep_alive", "method", "path", "takes_place")

    def __init__(self) -> None:
        self.began = perf_counter()
        self.method = b""
        self.path = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep_alive = True
        self.takes_place = False
        self.answer: Answer | None = None


class Application(Protocol):
    """What is served."""

    max_body_bytes: int

    def admit(self, exchange: Exchange) -> Answer | None:
        """The answer where none of the body is needed; None to be asked again with the body.

        Called when the head has arrived; quick.
        """
        ...

    def respond(self, exchange: Exchange) -> Answer | Work:
        """The answer to a request that was let in, or what must be done for it first; never raises."""
        ...

    def refuse(self, status: int, error: str, *, expected: str, was: str) -> Answer:
        """The answer to a request that the server itself turns away."""
        ...

    def observe(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Called once for each answer."""
        ...
