"""How a request that cannot be served is answered: always in one form, never with a stack trace.

{"error": "not found", "expected": "...", "was": "...", "request_id": "..."}
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from autotrader.domain.errors import (
    AutotraderError,
    DependencyError,
    NotFound,
    Refused,
    Throttled,
    Unreachable,
)
from autotrader.log import mask_text

RETRY_AFTER_SECONDS = 1

_MESSAGE = re.compile(r"expected (?P<expected>.+?), was:? (?P<was>.+)", re.DOTALL)
_log = structlog.get_logger(__name__)


class ErrorBody(BaseModel):
    """Of every answer from 400 on."""

    error: str = Field(description="What went wrong, in few words")
    expected: str = Field(description="What would have been right")
    was: str = Field(description="What was found instead, and what to do")
    request_id: str = Field(description="Also in the header X-Request-ID, and in our log")


class Denied(Exception):
    """The caller may not: not known (401), or not allowed (403)."""

    def __init__(self, status: HTTPStatus, expected: str, was: str) -> None:
        super().__init__(f"expected {expected}, was {was}")
        self.status = status
        self.expected = expected
        self.was = was


def complaint(
    status: int,
    expected: str,
    was: str,
    request_id: str,
    *,
    error: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer itself; without `error`, HTTP's own words for the status."""
    body = ErrorBody(
        error=error or HTTPStatus(status).phrase.lower(),
        expected=mask_text(expected),
        was=mask_text(was),
        request_id=request_id,
    )
    return JSONResponse(body.model_dump(), status, dict(headers or {}))


def denial(denied: Denied, request_id: str) -> JSONResponse:
    """The answer to somebody who may not."""
    headers = {"WWW-Authenticate": "Bearer"} if denied.status is HTTPStatus.UNAUTHORIZED else None
    return complaint(denied.status, denied.expected, denied.was, request_id, headers=headers)


def install(application: FastAPI) -> None:
    """Answer in this form whatever goes wrong inside the application."""
    application.add_exception_handler(Denied, _denied)
    application.add_exception_handler(RequestValidationError, _wrong_parameters)
    application.add_exception_handler(HTTPException, _http)
    application.add_exception_handler(AutotraderError, _known)


def _denied(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Denied)  # noqa: S101 - registered for it
    return denial(error, request.state.request_id)


def _wrong_parameters(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    found = error.errors()
    expected = "; ".join(f"{_place(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in found)
    was = "; ".join(_shown(e.get("input")) for e in found)
    return complaint(422, expected, was, request.state.request_id, error="wrong parameters")


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    match error.status_code:
        case HTTPStatus.BAD_REQUEST:  # the one that FastAPI makes: a body that is no text
            error.status_code, expected = HTTPStatus.UNPROCESSABLE_ENTITY, "a body of JSON"
        case HTTPStatus.NOT_FOUND:
            expected = "a path that /docs lists"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            expected = f"one of {(error.headers or {}).get('Allow', 'the methods that /docs lists')}"
        case _:
            expected = str(error.detail)
    was = f"{request.method} {request.url.path[:200]}"
    return complaint(
        error.status_code, expected, was, request.state.request_id, headers=dict(error.headers or {})
    )


def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AutotraderError)  # noqa: S101 - registered for it
    status, headers = HTTPStatus.INTERNAL_SERVER_ERROR, {}
    match error:
        case NotFound():
            status = HTTPStatus.NOT_FOUND
        case Refused():
            status = HTTPStatus.CONFLICT
        case Unreachable():
            status = HTTPStatus.SERVICE_UNAVAILABLE
            patience = error.retry_after_seconds if isinstance(error, Throttled) else RETRY_AFTER_SECONDS
            headers = {"Retry-After": str(math.ceil(patience))}
        case DependencyError():
            status = HTTPStatus.BAD_GATEWAY
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("a request failed", path=request.url.path, exc_info=error)
    parts = _MESSAGE.fullmatch(str(error))
    expected, was = (parts["expected"], parts["was"]) if parts else ("", str(error))
    return complaint(status, expected, was, request.state.request_id, headers=headers)


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:200]
