"""What every venue's `test_connection` verb does."""

from __future__ import annotations

import asyncio

from autotrader.command import Result
from autotrader.domain.errors import ExitCode
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import ConnectionReport, MarketDataSources


def report_connection(venue: Venue, sources: MarketDataSources) -> Result:
    """Test the venue's connection once; exit code 3 where it is not reachable or not usable."""
    report = asyncio.run(_test(venue, sources))
    code = ExitCode.DONE if report.ok else ExitCode.UNREACHABLE
    return Result(report, _line(report), code)


async def _test(venue: Venue, sources: MarketDataSources) -> ConnectionReport:
    source = sources(venue)
    try:
        return await source.test_connection()
    finally:
        await source.aclose()


def _line(report: ConnectionReport) -> str:
    figures = [
        f"{name} {value:.1f} ms"
        for name, value in (("latency", report.latency_ms), ("clock skew", report.clock_skew_ms))
        if value is not None
    ]
    verdict = "reachable" if report.ok else "not reachable"
    return ", ".join([f"{report.venue.value} is {verdict}: {report.reason}", *figures])
