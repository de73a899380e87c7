"""How every endpoint answers: weights charged, traffic counted, and misbehaviour where it is due."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from autotrader.apps.exchange.faults import Fault, FaultKind, Faults
from autotrader.apps.exchange.weights import Refusal, WeightMeter

_MICROSECONDS = 10**14  # instants beyond it are microseconds: the venue takes both
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
_REFUSALS = {FaultKind.THROTTLED: 429, FaultKind.BANNED: 418}

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Refused(Exception):
    """A request that the venue answers with its error body."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status
        self.answer = web.json_response({"code": code, "msg": message}, status=status)


@dataclass
class Traffic:
    """What went through, for whoever tests a client."""

    requests: Counter[str]
    statuses: Counter[int]
    under_way: int = 0
    most_under_way: int = 0


class Guard:
    """Stands before each handler.

    Parameters
    ----------
    weights : WeightMeter
    faults : Faults
    """

    def __init__(self, weights: WeightMeter, faults: Faults) -> None:
        self._weights, self._faults = weights, faults
        self.traffic = Traffic(Counter(), Counter())

    def wrap(
        self, path: str, weight: int, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler behind the guard; `path` is the endpoint's name in faults and traffic."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self.traffic.requests[path] += 1
            self.traffic.under_way += 1
            self.traffic.most_under_way = max(self.traffic.most_under_way, self.traffic.under_way)
            try:
                answer = await self._answer(path, weight, handler, request)
            finally:
                self.traffic.under_way -= 1
            self.traffic.statuses[answer.status] += 1
            return answer

        return handle

    async def _answer(self, path: str, weight: int, handler: Handler, request: web.Request) -> web.Response:
        refusal = self._weights.charge(weight)
        fault = await self._fault(path, request)
        if refusal is None and fault is not None and fault.kind in _REFUSALS:
            refusal = Refusal(_REFUSALS[fault.kind], math.ceil(fault.seconds))
        if refusal is not None:
            return self._refuse(refusal)
        if fault is not None and fault.kind is FaultKind.LOST:
            reset(request)
            return web.Response()
        try:
            if fault is not None and fault.kind is FaultKind.REJECTED:
                raise Refused(-2010, "Account has insufficient balance for requested action.")
            answer = await handler(request)
        except Refused as refused:
            answer = refused.answer
        if fault is not None:
            answer = await _misbehave(fault, request, answer)
        answer.headers["x-mbx-used-weight"] = str(self._weights.used)
        answer.headers["x-mbx-used-weight-1m"] = str(self._weights.used)
        return answer

    async def _fault(self, path: str, request: web.Request) -> Fault | None:
        asked = await parameters(request)
        times = [asked.get(name) for name in ("startTime", "endTime")]
        start_ms, end_ms = (milliseconds(t) if t and t.isdigit() else None for t in times)
        return self._faults.answer_fault(path, asked.get("symbol"), start_ms, end_ms)

    def _refuse(self, refusal: Refusal) -> web.Response:
        if refusal.status == 418:
            until = int((time.time() + refusal.retry_after_seconds) * 1000)
            message = (
                f"Way too much request weight used; IP banned until {until}. "
                "Please use WebSocket Streams for live updates to avoid bans."
            )
        else:
            message = (
                f"Too much request weight used; current limit is {self._weights.limit} request weight per "
                "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
            )
        answer = Refused(-1003, message, refusal.status).answer
        answer.headers["Retry-After"] = str(refusal.retry_after_seconds)
        return answer


async def parameters(request: web.Request) -> dict[str, str]:
    """What was sent in the query and, as a form, in the body."""
    form = await request.post()
    return {**request.query, **{name: value for name, value in form.items() if isinstance(value, str)}}


async def _misbehave(fault: Fault, request: web.Request, answer: web.Response) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else b""
    match fault.kind:
        case FaultKind.SERVER_ERROR:
            return Refused(-1001, "Internal error; unable to process your request.", 500).answer
        case FaultKind.HTML:
            return web.Response(body=_HTML, content_type="text/html")
        case FaultKind.TRUNCATED:
            return web.Response(body=body[: len(body) * 2 // 3], content_type="application/json")
        case FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        case FaultKind.RESET:
            reset(request)
    return answer


def reset(request: web.Request) -> None:
    """Close the connection with a TCP reset, as a failing load balancer does."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


def milliseconds(instant: int | str) -> int:
    value = int(instant)
    return value // 1000 if value >= _MICROSECONDS else value


def number(text: str | None, name: str) -> int | None:
    """A parameter that must be a number.

    Raises
    ------
    Refused
        If it is none.
    """
    if text is None:
        return None
    if not text.isdigit():
        raise Refused(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        )
    return int(text)
