"""Around every request: an id, a bound on its body, a line in the log, a count, and no stack trace."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotrader.apps.api.answers import complaint
from autotrader.apps.api.metrics import ApiMetrics
from autotrader.domain.thresholds import API

HEADER = b"x-request-id"
WEBHOOK = "/alerts/webhook"  # an Alertmanager tells of many alerts at once

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger(__name__)


class TooLarge(HTTPException):
    """The request's body is larger than any that we want."""

    def __init__(self, most: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of at most {most} bytes")


class Observation:
    """ASGI middleware, the outermost of ours.

    A caller's `X-Request-ID` is taken over where it is harmless in a log; every answer carries one.

    Parameters
    ----------
    application : ASGIApp
    metrics : ApiMetrics
    """

    def __init__(self, application: ASGIApp, metrics: ApiMetrics) -> None:
        self._application = application
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if scope["type"] == "http":
                await self._observe(scope, receive, send, request_id)
            else:
                await self._application(scope, receive, send)

    async def _observe(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        status: int | None = None
        begun = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message = {**message, "headers": [*message["headers"], (HEADER, request_id.encode())]}
            await send(message)

        with self._metrics.in_progress.track_inprogress():
            try:
                await self._application(scope, _bounded(receive, _most_bytes(scope)), send_with_id)
            except Exception as error:
                _log.error("a request broke", path=scope["path"], exc_info=error)
                if status is not None:
                    raise  # half an answer cannot be taken back: the server cuts the connection
                answer = complaint(
                    HTTPStatus.INTERNAL_SERVER_ERROR,
                    "an answer",
                    f"a fault of ours, which the log describes under {request_id}",
                    request_id,
                )
                await answer(scope, receive, send_with_id)
        seconds = time.perf_counter() - begun
        endpoint = _template(scope)
        self._metrics.observe(scope["method"], endpoint, status or 0, seconds)
        _log.info(
            "request",
            method=scope["method"],
            endpoint=endpoint,
            status=status,
            duration_ms=round(seconds * 1000, 3),
        )


def _request_id(scope: Mapping[str, Any]) -> str:
    given = next((value for name, value in scope["headers"] if name == HEADER), b"")
    return given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex


def _template(scope: MutableMapping[str, Any]) -> str | None:
    path: str | None = getattr(scope.get("route"), "path", None)
    return path


def _most_bytes(scope: Scope) -> int:
    return API.webhook_bytes if scope["path"] == WEBHOOK else API.body_bytes


def _bounded(receive: Receive, most: int) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise TooLarge(most)
        return message

    return bounded
