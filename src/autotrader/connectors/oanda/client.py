"""OANDA's v20 REST API over httpx: one request, its failure in our words."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from urllib.parse import urlsplit

import httpx

from autotrader.config.settings import OandaSettings
from autotrader.connectors.rate import SlidingWindow
from autotrader.connectors.resilience import failure_of_status, transport_failures
from autotrader.domain.errors import AutotraderError, ConfigurationError, NotFound, Rejected
from autotrader.ports.clock import WallClock

# The venue allows 120 a second for each connection: https://developer.oanda.com/rest-live-v20/best-practices/
REQUESTS_PER_SECOND = 100
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_UNKNOWN = (httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND)
TIMEOUT = httpx.Timeout(20.0, connect=3.0)


class OandaClient:
    """Asks the venue, within its rate, and says plainly what went wrong.

    Parameters
    ----------
    settings : OandaSettings
    wall_clock : WallClock
    timeout : httpx.Timeout
    """

    def __init__(
        self, settings: OandaSettings, wall_clock: WallClock, *, timeout: httpx.Timeout = TIMEOUT
    ) -> None:
        self._settings = settings
        self._wall_clock = wall_clock
        self._timeout = timeout
        self._rate = SlidingWindow(REQUESTS_PER_SECOND, 1.0)
        self._http: httpx.AsyncClient | None = None

    async def get(self, path: str, **parameters: str) -> httpx.Response:
        """The venue's answer to one GET, of status 200.

        Raises
        ------
        ConfigurationError
            If no token is set.
        Unreachable, Throttled, NotFound, Rejected
            As the status or the failed transport demands.
        """
        return await self.send("GET", path, parameters=parameters)

    async def send(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: object = None,
        answers: Collection[int] = (httpx.codes.OK,),
    ) -> httpx.Response:
        """The venue's answer to one request, of a status among `answers`.

        Raises
        ------
        ConfigurationError
            If no token is set.
        Unreachable, Throttled, NotFound, Rejected
            As any other status or the failed transport demands.
        """
        http = self._open()
        while (wait := self._rate.wait_seconds(self._wall_clock.monotonic())) > 0:
            await asyncio.sleep(wait)
        self._rate.count(self._wall_clock.monotonic())
        request = f"{method} {self._settings.rest_url}{path}"
        with transport_failures(request, httpx.TransportError):
            response = await http.request(method, path, params=parameters, json=body)
        if response.status_code not in answers:
            raise _failure(response, request)
        return response

    @contextlib.asynccontextmanager
    async def lines(self, path: str, *, silence_seconds: float) -> AsyncIterator[AsyncIterator[str]]:
        """A stream, line by line, until it ends.

        Raises
        ------
        Unreachable, Throttled, Rejected
            As status or transport demand; also after `silence_seconds` without a byte.
        """
        request = f"GET {self._settings.stream_url}{path}"
        patience = httpx.Timeout(silence_seconds, connect=TIMEOUT.connect)
        with transport_failures(request, httpx.TransportError, httpx.StreamError):
            url = self._settings.stream_url + path
            async with self._open().stream("GET", url, timeout=patience) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise _failure(response, request)
                yield response.aiter_lines()

    async def aclose(self) -> None:
        """Close the sockets. Safe to call twice."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    def _open(self) -> httpx.AsyncClient:
        if self._http is None:
            token = self._settings.token
            if token is None:
                raise ConfigurationError("AUTOTRADER_OANDA__TOKEN: expected an API token, was empty")
            self._http = httpx.AsyncClient(
                base_url=self._settings.rest_url,
                headers=_headers(token.get_secret_value()),
                timeout=self._timeout,
                verify=_certificates(),
                # No proxy reaches this machine's loopback, where stand-ins listen.
                trust_env=urlsplit(self._settings.rest_url).hostname not in LOOPBACK,
            )
        return self._http


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Reading the certificates takes longer than most requests."""
    return httpx.create_ssl_context()


def _headers(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept-Datetime-Format": "RFC3339"}


def _failure(response: httpx.Response, request: str) -> AutotraderError:
    said = _error_message(response)
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return Rejected(
            f"{request}: expected a token that OANDA accepts, was refused ({said}): "
            "set AUTOTRADER_OANDA__TOKEN to a token of this environment (practice and live have their own)"
        )
    if response.status_code in _UNKNOWN and "instrument" in said.lower():
        return NotFound(f"{request}: expected an instrument that OANDA knows, was refused ({said})")
    if response.status_code == httpx.codes.NOT_FOUND:
        return Rejected(f"{request}: expected OANDA's API, was HTTP 404: check AUTOTRADER_OANDA__REST_URL")
    return failure_of_status(
        response.status_code, request, detail=said, retry_after=response.headers.get("Retry-After")
    )


def _error_message(response: httpx.Response) -> str:
    try:
        said = response.json()["errorMessage"]
    except (ValueError, KeyError, TypeError):
        said = response.text
    return " ".join(str(said).split())[:200]
