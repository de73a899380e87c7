"""One request over HTTP, and what its answer means. URLs are secrets here: no error names one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx

from autotrader.alerts.wording import one_line
from autotrader.domain.errors import (
    AutotraderError,
    ConfigurationError,
    Rejected,
    Throttled,
    Unreachable,
)
from autotrader.ports.clock import WallClock

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MOST_BYTES = 4_096  # of an answer: no one reads more
_MOST_PATIENCE_SECONDS = 3_600.0
_DEFAULT_PATIENCE_SECONDS = 30.0
_AWAY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_UNKNOWN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class Poster:
    """Posts JSON to one place.

    Parameters
    ----------
    who : str
        What errors call the place.
    setting : str
        Name of the variable that a person must change where the place does not know us.
    url : str
    clock : WallClock
    timeout_seconds : float
        Patience with a whole request, however slowly the answer comes.
    headers : Mapping[str, str]
    """

    def __init__(
        self,
        who: str,
        setting: str,
        url: str,
        clock: WallClock,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"{setting}: expected a URL of http or https, was something else")
        self._who = who
        self._setting = setting
        self._url = url
        self._clock = clock
        self._seconds = timeout_seconds
        self._client = httpx.Client(
            timeout=timeout_seconds,
            headers={"User-Agent": "autotrader", **(headers or {})},
            trust_env=parts.hostname not in LOOPBACK,  # no proxy reaches this machine's loopback
        )

    def post(
        self,
        body: Any,
        path: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        gone_is_well: bool = False,
    ) -> None:
        """Post, and return once it was taken on; raises as `Channel.send` does.

        Parameters
        ----------
        gone_is_well : bool
            Whether an answer that there is no such thing is as good as one that it is done.
        """
        deadline = time.monotonic() + self._seconds
        try:
            with self._client.stream("POST", self._url + path, json=body, headers=headers) as answer:
                said = self._read(answer, deadline)
                status, told = answer.status_code, answer.headers
        except httpx.InvalidURL:
            raise ConfigurationError(f"{self._setting}: expected a URL, was something else") from None
        except httpx.HTTPError as error:
            # Not the error's own text: it may name the URL.
            raise Unreachable(f"{self._who} did not answer: {type(error).__name__}") from None
        if status >= HTTPStatus.MULTIPLE_CHOICES and not (gone_is_well and status == HTTPStatus.NOT_FOUND):
            raise self._meaning(status, said, told)

    def close(self) -> None:
        self._client.close()

    def _read(self, answer: httpx.Response, deadline: float) -> str:
        found = b""
        for piece in answer.iter_bytes():
            found += piece
            if len(found) >= _MOST_BYTES:
                break
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("an answer that does not end")
        return one_line(found[:_MOST_BYTES].decode(errors="replace"), 200)

    def _meaning(self, status: int, said: str, headers: httpx.Headers) -> AutotraderError:
        text = f"{self._who} answered {status}" + (f": {said}" if said else "")
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled(
                text, retry_after_seconds=patience(headers.get("retry-after"), self._clock.now())
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _AWAY:
            return Unreachable(text)
        if status in _UNKNOWN:
            return ConfigurationError(f"{self._setting}: expected to be let in, was not: {text}")
        return Rejected(text)


def patience(retry_after: str | None, now: datetime) -> float:
    """Seconds that a Retry-After header asks for: a number or a date, within an hour."""
    if retry_after is None:
        return _DEFAULT_PATIENCE_SECONDS
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - now).total_seconds()
        except (ValueError, TypeError):
            return _DEFAULT_PATIENCE_SECONDS
    if not math.isfinite(seconds):
        return _DEFAULT_PATIENCE_SECONDS
    return min(max(seconds, 0.0), _MOST_PATIENCE_SECONDS)
