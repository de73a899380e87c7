"""Heads of HTTP messages: of requests that were read before, and of answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from autotrader.apps.serving.exchange import Answer

_STATUS_LINES: Mapping[int, bytes] = {
    s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\ncontent-type: ".encode() for s in HTTPStatus
}


@dataclass(frozen=True, slots=True)
class KnownHead:
    """A head that the parser has read, of a request that says how long its body is.

    Attributes
    ----------
    request_bytes : int
        Of the whole request.
    """

    raw: bytes
    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    request_bytes: int

    def begins(self, data: bytes) -> bool:
        """Whether the data are one whole request with this head, and nothing else."""
        return len(data) == self.request_bytes and data.startswith(self.raw)


def answer_head(answer: Answer, *, closes: bool) -> bytes:
    """What stands before the body of an answer."""
    return b"%b%b\r\ncontent-length: %d\r\n%b%b\r\n" % (
        _STATUS_LINES[answer.status],
        answer.content_type,
        len(answer.body),
        answer.headers,
        b"connection: close\r\n" if closes else b"",
    )
