"""Misbehaviour on demand: what a venue does wrong, how often, for whom, and for which bars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from autotrader.apps.exchange.klines import epoch_ms
from autotrader.domain.bars import parse_utc
from autotrader.domain.errors import ConfigurationError


class FaultKind(StrEnum):
    # The answer as a whole.
    THROTTLED = "throttled"
    BANNED = "banned"
    SERVER_ERROR = "server_error"
    HTML = "html"
    TRUNCATED = "truncated"
    SLOW = "slow"
    RESET = "reset"
    LOST = "lost"
    # What becomes of orders, and of the account's answers.
    REJECTED = "rejected"
    LATE_FILL = "late_fill"
    STALE = "stale"
    # The bars in an answer.
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    RESTATED = "restated"
    GAP = "gap"
    NAN = "nan"
    ZERO = "zero"
    NEGATIVE = "negative"
    UNCLOSED = "unclosed"


Row = list[Any]
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME = 1, 2, 3, 4, 5
_PRICES = (_OPEN, _HIGH, _LOW, _CLOSE)

ANSWER_FAULTS = frozenset(
    {
        FaultKind.THROTTLED,
        FaultKind.BANNED,
        FaultKind.SERVER_ERROR,
        FaultKind.HTML,
        FaultKind.TRUNCATED,
        FaultKind.SLOW,
        FaultKind.RESET,
        FaultKind.LOST,
        FaultKind.REJECTED,
    }
)
# Where alone they have a meaning.
ORDER_FAULTS: dict[FaultKind, frozenset[str]] = {
    FaultKind.REJECTED: frozenset({"order.place"}),
    FaultKind.LATE_FILL: frozenset({"order.cancel"}),
    FaultKind.STALE: frozenset({"account", "order.status"}),
}
STREAMS = frozenset({"stream", "trade_stream", "depth_stream", "user_stream"})
STREAM_FAULTS = frozenset({FaultKind.RESET, FaultKind.GAP, FaultKind.DUPLICATE, FaultKind.TRUNCATED})


@dataclass(eq=False)
class Fault:
    """One thing to do wrong.

    An answer that is `reset` was given, and is lost; a request that is `lost` was never read. After
    a `late_fill` a cancelled order is filled all the same, whole, as the market goes on; what is
    `stale` is from before the account's newest change, or before there was the order.

    Attributes
    ----------
    kind : FaultKind
    count : int or None
        Requests (or stream messages) that it befalls before it is over; None: until it is cleared.
    path : str
        Last part of the endpoint's path, such as `klines` or `time`; of the order endpoint
        `order.place`, `order.status` and `order.cancel`; of the WebSocket `stream` for closed bars,
        `trade_stream` for trades, `depth_stream` for updates of the book, `user_stream` for fills of
        the account (`reset`, `gap`, `duplicate` and `truncated` only).
    symbol : str or None
        Of this symbol only.
    start, end : datetime or None
        Only requests that touch bar opens in [start, end), and messages of that time; a fault of bars
        befalls all of the window's bars in the page, and without a window the page's middle one.
    seconds : float
        Delay of `slow`; Retry-After of `throttled` and `banned`, rounded up.
    """

    kind: FaultKind
    count: int | None = 1
    path: str = "klines"
    symbol: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.path in STREAMS and self.kind not in STREAM_FAULTS:
            raise ConfigurationError(
                f"expected one of {', '.join(sorted(STREAM_FAULTS))} for a stream, was {self.kind.value}"
            )
        paths = ORDER_FAULTS.get(
            self.kind, {self.path} if self.kind in ANSWER_FAULTS else {"klines", *STREAMS}
        )
        if self.path not in paths:
            expected = " or ".join(sorted(paths - STREAMS))
            raise ConfigurationError(f"expected path {expected} for {self.kind.value}, was {self.path}")

    @classmethod
    def parse(cls, text: str | Mapping[str, Any]) -> Fault:
        """Read a JSON object with the attributes above; instants are ISO texts.

        Raises
        ------
        ConfigurationError
            If a name or a value is wrong.
        """
        try:
            given = dict(json.loads(text) if isinstance(text, str) else text)
            unknown = given.keys() - {f.name for f in fields(cls)}
            if unknown:
                raise ConfigurationError(f"expected attributes of a fault, was {', '.join(sorted(unknown))}")
            for name in {"start", "end"} & given.keys():
                given[name] = parse_utc(given[name])
            return msgspec.convert(given, cls)
        except (ValueError, TypeError, msgspec.ValidationError) as failure:
            raise ConfigurationError(f"expected a fault as a JSON object, was {text!r}: {failure}") from None

    def touches(self, path: str, symbol: str | None, start_ms: int | None, end_ms: int | None) -> bool:
        """Whether a request (or a bar: start = end) is one that this fault befalls."""
        if self.path != path or (self.symbol and self.symbol != symbol):
            return False
        if self.start and end_ms is not None and end_ms < epoch_ms(self.start):
            return False
        return not (self.end and start_ms is not None and start_ms >= epoch_ms(self.end))

    def befalls(self, rows: list[Row]) -> list[int]:
        """Indices of the rows that it spoils."""
        if self.start is None and self.end is None:
            return [len(rows) // 2] if rows else []
        return [i for i, row in enumerate(rows) if self.touches(self.path, self.symbol, row[0], row[0])]


class Faults:
    """Those that are due, in the order in which they were given."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._due = [replace(fault) for fault in faults]

    def add(self, *faults: Fault) -> None:
        self._due.extend(replace(fault) for fault in faults)

    def clear(self) -> None:
        self._due.clear()

    def due(self) -> list[Fault]:
        return [replace(fault) for fault in self._due]

    def answer_fault(
        self, path: str, symbol: str | None, start_ms: int | None, end_ms: int | None
    ) -> Fault | None:
        """The first fault of the whole answer that befalls the request; it counts as done."""
        for fault in self._due:
            if fault.kind in ANSWER_FAULTS and fault.touches(path, symbol, start_ms, end_ms):
                return self._done(fault)
        return None

    def take(self, kind: FaultKind, path: str, symbol: str | None = None) -> bool:
        """Whether a fault of this kind befalls the request; it counts as done."""
        for fault in self._due:
            if fault.kind is kind and fault.touches(path, symbol, None, None):
                self._done(fault)
                return True
        return False

    def spoil(self, body: bytes, symbol: str, interval_ms: int, now: datetime) -> bytes:
        """A page of klines with all faults of bars that befall it; each counts as done."""
        due = [
            fault
            for fault in self._due
            if fault.kind in SPOILERS and fault.touches("klines", symbol, None, None)
        ]
        if not due:
            return body
        rows: list[Row] = json.loads(body)
        spoilt = False
        for fault in due:
            indices = fault.befalls(rows)
            if indices:
                SPOILERS[fault.kind](rows, indices, interval_ms, epoch_ms(now))
                self._done(fault)
                spoilt = True
        return json.dumps(rows, separators=(",", ":")).encode() if spoilt else body

    def stream_fault(self, path: str | None, symbol: str, at_ms: int) -> FaultKind | None:
        """The fault that befalls a message of a stream; it counts as done."""
        for fault in self._due:
            if path is not None and fault.touches(path, symbol, at_ms, at_ms):
                return self._done(fault).kind
        return None

    def _done(self, fault: Fault) -> Fault:
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                self._due.remove(fault)
        return fault


def _duplicate(rows: list[Row], indices: list[int], _interval_ms: int, _now_ms: int) -> None:
    for i in reversed(indices):
        rows.insert(i, list(rows[i]))


def _out_of_order(rows: list[Row], indices: list[int], _interval_ms: int, _now_ms: int) -> None:
    if len(indices) == 1 and len(rows) > 1:
        (i,) = indices
        indices = [i - 1, i] if i else [0, 1]
    for i, row in zip(indices, [rows[i] for i in reversed(indices)], strict=True):
        rows[i] = row


def _restated(rows: list[Row], indices: list[int], _interval_ms: int, _now_ms: int) -> None:
    for i in indices:
        row = rows[i]
        row[_CLOSE] = f"{(float(row[_HIGH]) + float(row[_LOW])) / 2:.8f}"
        row[_VOLUME] = f"{float(row[_VOLUME]) * 1.5 + 1:.8f}"


def _gap(rows: list[Row], indices: list[int], _interval_ms: int, _now_ms: int) -> None:
    for i in reversed(indices):
        del rows[i]


def _nan(rows: list[Row], indices: list[int], _interval_ms: int, _now_ms: int) -> None:
    for i in indices:
        rows[i][_CLOSE] = "NaN"


def _zero(rows: list[Row], indices: list[int], _interval_ms: int, _now_ms: int) -> None:
    for i in indices:
        rows[i][_LOW] = "0.00000000"


def _negative(rows: list[Row], indices: list[int], _interval_ms: int, _now_ms: int) -> None:
    for i in indices:
        for price in _PRICES:
            rows[i][price] = f"-{rows[i][price]}"


def _unclosed(rows: list[Row], _indices: list[int], interval_ms: int, now_ms: int) -> None:
    opened = now_ms // interval_ms * interval_ms
    rows.append([opened, *rows[-1][1:6], opened + interval_ms - 1, *rows[-1][7:]])


SPOILERS: dict[FaultKind, Callable[[list[Row], list[int], int, int], None]] = {
    FaultKind.DUPLICATE: _duplicate,
    FaultKind.OUT_OF_ORDER: _out_of_order,
    FaultKind.RESTATED: _restated,
    FaultKind.GAP: _gap,
    FaultKind.NAN: _nan,
    FaultKind.ZERO: _zero,
    FaultKind.NEGATIVE: _negative,
    FaultKind.UNCLOSED: _unclosed,
}
