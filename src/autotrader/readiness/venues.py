"""Stage 3: the venues that data comes from, and the broker that orders go to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from autotrader.config.settings import BrokerKind, Settings
from autotrader.config.verify_credentials import verify_credentials
from autotrader.domain.instruments import Venue
from autotrader.domain.thresholds import READINESS
from autotrader.ports.credentials import CredentialCheck, CredentialChecks, CredentialReport, CredentialState
from autotrader.ports.market_data import ConnectionReport, MarketDataSources
from autotrader.readiness.findings import Finding, failed, not_applicable, ok, warning


def look(*, settings: Settings, sources: MarketDataSources, checks: CredentialChecks) -> Iterator[Finding]:
    """Whether each venue answers, how far its clock is off, and whether the broker's key is good."""
    for venue in settings.venues:
        yield from _connection(asyncio.run(_test(venue, sources)))
    broker = settings.trading.broker
    if broker is BrokerKind.PAPER:
        yield not_applicable("broker", "paper: orders leave this machine to nobody")
        return
    yield _credential(broker, settings, checks)


async def _test(venue: Venue, sources: MarketDataSources) -> ConnectionReport:
    source = sources(venue)
    try:
        return await source.test_connection()
    finally:
        await source.aclose()


def _connection(report: ConnectionReport) -> Iterator[Finding]:
    name = report.venue.value
    if not report.ok:
        todo = (
            f"python -m autotrader.connectors.{_package(report.venue)} test_connection; look at the network"
        )
        yield failed(name, report.reason, todo)
        return
    latency = "" if report.latency_ms is None else f" ({report.latency_ms:.0f} ms)"
    yield ok(name, f"answers{latency}")
    if report.clock_skew_ms is None:
        yield not_applicable(f"clock of {name}", "the venue does not tell its time")
        return
    skew = abs(report.clock_skew_ms) / 1000
    reason = f"is {skew:.2f} s off ours"
    todo = "set this machine's clock by NTP (chronyc tracking): orders with a wrong time are refused"
    if skew > READINESS.clock_skew_critical_seconds:
        yield failed(f"clock of {name}", reason, todo)
    elif skew > READINESS.clock_skew_warning_seconds:
        yield warning(f"clock of {name}", reason, todo)
    else:
        yield ok(f"clock of {name}", reason)


def _credential(broker: BrokerKind, settings: Settings, checks: CredentialChecks) -> Finding:
    def of_broker() -> list[CredentialCheck]:
        return [check for check in checks() if check.name == broker.value]

    data = verify_credentials(settings=settings, checks=of_broker).data
    assert isinstance(data, dict)  # noqa: S101 - what it returns
    reports: list[CredentialReport] = data["credentials"]
    if not reports:
        return failed("broker", f"nothing verifies the key of {broker.value}", "set another broker")
    (report,) = reports
    reason = f"{broker.value}: {report.reason}"
    if report.state is CredentialState.FINE:
        return ok("broker", reason)
    return failed("broker", reason, "autotrader verify-credentials, then set a key that may trade")


def _package(venue: Venue) -> str:
    return {Venue.BINANCE: "binance_ws", Venue.IBKR: "ibkr_connector", Venue.OANDA: "oanda"}[venue]
