"""History of foreign exchange from OANDA."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx

from autotrader.config.settings import OandaSettings
from autotrader.connectors.days import daily_pages
from autotrader.connectors.oanda.client import TIMEOUT, OandaClient
from autotrader.connectors.oanda.decode import MEDIA
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.bars import Interval
from autotrader.domain.errors import AutotraderError, NotFound, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.market_data import ConnectionReport, RawPage

GRANULARITIES = {
    Interval.M1: "M1",
    Interval.M5: "M5",
    Interval.M15: "M15",
    Interval.H1: "H1",
    Interval.D1: "D",
}
# The venue's own days begin at 17:00 in New York; the platform's grid is UTC.
UTC_DAYS = {"dailyAlignment": "0", "alignmentTimezone": "UTC"}
# Whether the end of the range is itself part of it, the venue does not say.
JUST_BEFORE = timedelta(seconds=1)


RETRY = RetryPolicy()


class OandaSource:
    """Mid, bid and ask candles of v20 REST. Each page is one UTC day.

    Parameters
    ----------
    settings : OandaSettings
    market_clock : MarketClock
        Bars that had not closed by its time are not asked for.
    wall_clock : WallClock
    retry : RetryPolicy
    timeout : httpx.Timeout
        For one request.
    """

    venue = Venue.OANDA

    def __init__(
        self,
        settings: OandaSettings,
        market_clock: MarketClock,
        wall_clock: WallClock,
        *,
        retry: RetryPolicy = RETRY,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        self._settings = settings
        self._market_clock = market_clock
        self._wall_clock = wall_clock
        self._retry = retry
        self._client = OandaClient(settings, wall_clock, timeout=timeout)

    async def available(self, instruments: Sequence[str]) -> dict[str, str]:
        """Of these instruments, those of which the venue has no candles, each with the reason."""
        missing = {}
        for instrument in instruments:
            try:
                await self._candles(instrument, granularity="M1", count="1")
            except NotFound as error:
                missing[instrument] = str(error)
        return missing

    async def pages(
        self, instrument: str, interval: Interval, start: datetime, end: datetime
    ) -> AsyncIterator[RawPage]:
        """Raw pages of [start, end), one a UTC day, up to the last bar that has closed.

        A day of a closed market is a page too, with no candle in it.

        Raises
        ------
        ConfigurationError
            If `start` is after `end`, or no token is set.
        NotFound, Throttled, Unreachable, Rejected
            As `ports.market_data.MarketDataSource` says.
        """

        async def fetch(opens: datetime, until: datetime) -> bytes:
            return await self._candles(
                instrument,
                price="MBA",
                granularity=GRANULARITIES[interval],
                **{"from": _rfc3339(opens), "to": _rfc3339(until - JUST_BEFORE)},
                **(UTC_DAYS if interval is Interval.D1 else {}),
            )

        async for page in daily_pages(
            fetch,
            venue=self.venue,
            instrument=instrument,
            interval=interval,
            start=start,
            end=end,
            media=MEDIA,
            source=self._settings.source,
            market_clock=self._market_clock,
            wall_clock=self._wall_clock,
        ):
            yield page

    async def test_connection(self) -> ConnectionReport:
        """List the token's accounts, once."""
        try:
            response = await self._client.get("/v3/accounts")
        except AutotraderError as error:
            return ConnectionReport(self.venue, ok=False, reason=str(error))
        server_time, skew_ms = self._clock_of(response)
        return ConnectionReport(
            self.venue,
            ok=True,
            reason=f"{self._settings.rest_url} accepts the token",
            latency_ms=response.elapsed.total_seconds() * 1000,
            server_time=server_time,
            clock_skew_ms=skew_ms,
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    def _clock_of(self, response: httpx.Response) -> tuple[datetime | None, float | None]:
        """The venue's time and its lead over ours in ms, from the header, which tells whole seconds."""
        if "Date" not in response.headers:
            return None, None
        theirs = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        ours = self._wall_clock.now().replace(microsecond=0)
        return theirs, (theirs - ours).total_seconds() * 1000

    async def _candles(self, instrument: str, **parameters: str) -> bytes:
        path = f"/v3/instruments/{quote(instrument, safe='')}/candles"

        async def ask() -> bytes:
            response = await self._client.get(path, **parameters)
            return _require_candles(response)

        return await self._retry.call(ask)


def _require_candles(response: httpx.Response) -> bytes:
    """The body, if it is whole: a proxy's page or a cut answer is worth asking again, not archiving."""
    try:
        if "candles" in json.loads(response.content):
            return response.content
        reason = "JSON without candles"
    except (ValueError, TypeError):
        kind = response.headers.get("Content-Type", "no content type")
        reason = f"no whole JSON ({kind}, {len(response.content)} bytes)"
    raise Unreachable(f"expected candles from {response.url.copy_with(query=None)}, was {reason}")


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
