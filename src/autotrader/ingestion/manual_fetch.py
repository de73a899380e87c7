"""Fetch a window of bars by hand: `python -m autotrader.ingestion.manual_fetch`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.data.places import delete_folder
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ExitCode, NotFound
from autotrader.domain.instruments import Venue
from autotrader.domain.verdicts import worst
from autotrader.ingestion.progress import showing_progress
from autotrader.ingestion.run import Ingested, ingest
from autotrader.ingestion.staging import forget_old_runs
from autotrader.ingestion.windows import Assignment, named_window
from autotrader.ports.archive import Archive
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds
from autotrader.ports.market_data import MarketDataSources, PageDecoders
from autotrader.ports.places import Places


def manual_fetch(
    *,
    exchange: Venue,
    instruments: tuple[str, ...],
    start: datetime,
    end: datetime,
    interval: Interval = Interval.M1,
    settings: Settings,
    sources: MarketDataSources,
    decoders: PageDecoders,
    archive: Archive,
    lake: Lake,
    holds: Holds,
    clock: MarketClock,
    places: Places,
) -> command.Result:
    """Fetch bars of a window, archive the raw pages, check them and store them in the lake.

    Repeating it changes nothing; after an interruption it goes on where it stopped.

    Parameters
    ----------
    exchange : Venue
        Where to ask.
    instruments : tuple of str
        Symbols as the venue writes them, such as BTCUSDT ETHUSDT.
    start, end : datetime
        First open, and the open before which to stop, UTC.
    interval : Interval
        Length of a bar.
    """
    window = named_window(now=clock.now(), interval=interval, start=start, end=end)
    symbols = tuple(dict.fromkeys(instruments))
    _require_known(sources, exchange, symbols)
    assignments = [Assignment(exchange, symbol, interval, *window) for symbol in symbols]
    request = hashlib.sha256("\n".join(map(str, assignments)).encode()).hexdigest()[:16]
    staging = places(settings.staging_uri) / f"manual-{request}"
    forget_old_runs(staging.parent, of=lambda name: name.startswith("manual-") and name != staging.name)
    with showing_progress(assignments) as progress:
        done = ingest(
            assignments,
            sources=sources,
            decoders=decoders,
            archive=archive,
            lake=lake,
            holds=holds,
            staging=staging,
            places=places,
            latency=timedelta(seconds=settings.publication_latency_seconds(exchange)),
            progress=progress,
        )
    if not done.extracted.failures:
        delete_folder(staging)
    return _result(done)


def _require_known(sources: MarketDataSources, venue: Venue, symbols: Sequence[str]) -> None:
    async def ask() -> dict[str, str]:
        source = sources(venue)
        try:
            return await source.available(symbols)
        finally:
            await source.aclose()

    missing = asyncio.run(ask())
    if missing:
        named = "; ".join(f"{symbol} ({reason})" for symbol, reason in missing.items())
        raise NotFound(f"expected instruments of {venue.value}, was {named}: check the symbols")


def _result(done: Ingested) -> command.Result:
    bars, failures = done.committed.bars, done.extracted.failures
    severity = worst(v.verdict.severity for v in done.validated)
    lines = [
        f"{v.assignment}: {v.rows} bars, {v.refused} refused, "
        f"{v.verdict.severity.value}: {failures.get(v.assignment.instrument) or v.verdict.reason}"
        for v in done.validated
    ]
    counts = f"{bars.inserted} new, {bars.unchanged} unchanged, {bars.restated} restated, {bars.held} held"
    lines.append(f"lake version {bars.version}: {counts}, {done.committed.quarantined} quarantined")
    data = {
        "instruments": {
            str(v.assignment.id): {
                "start": v.assignment.start,
                "end": v.assignment.end,
                "rows": v.rows,
                "refused": v.refused,
                "severity": v.verdict.severity,
                "reason": v.verdict.reason,
                "failure": failures.get(v.assignment.instrument),
            }
            for v in done.validated
        },
        "bars": bars,
        "quarantined": done.committed.quarantined,
        "severity": severity,
    }
    return command.Result(data, "\n".join(lines), ExitCode.FAILED if failures else ExitCode.DONE)


if __name__ == "__main__":
    raise SystemExit(command.run(manual_fetch))
