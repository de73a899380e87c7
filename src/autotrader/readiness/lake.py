"""Stage 5: the lake's tables and the archive of raw pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.freshness import delivery_finding
from autotrader.data.lake import Lake
from autotrader.domain.errors import AutotraderError
from autotrader.domain.verdicts import Severity
from autotrader.features.store.store import FeatureStore
from autotrader.ports.archive import Archive
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds
from autotrader.readiness.findings import Finding, failed, of_severity, ok

_FETCH = "trigger data_pipeline, or python -m autotrader.ingestion.manual_fetch"
_SAMPLE = 3  # pages of an instrument that are read back


def look(
    *,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    features: FeatureStore,
    archive: Archive,
    clock: MarketClock,
) -> Iterator[Finding]:
    """Whether the tables are there and current, and pages of the archive still are what was received."""
    bars = BarStore(lake, holds)
    there = set(lake.names())
    for name in (bars.bars.name, features.rows.name):
        if name not in there:
            yield failed(name, f"the table is not among the lake's {len(there)}", _FETCH)
        else:
            yield ok(name, f"{lake.open(name).count():,} rows, version {lake.open(name).version()}")
    if bars.bars.name in there:
        yield _bars(settings, bars, clock)
    yield _archive(settings, archive)


def _bars(settings: Settings, bars: BarStore, clock: MarketClock) -> Finding:
    """The instrument that is furthest behind speaks for all."""
    interval, instruments = settings.strategy.interval, settings.instruments()
    found = [
        delivery_finding(str(i), i.venue, interval, bars.high_water_mark(i, interval), clock)
        for i in instruments
    ]
    late = [finding for finding in found if finding.severity is not Severity.HEALTHY]
    if not late:
        return ok("age of bars", f"all {len(instruments)} instruments are current; {found[0].reason}")
    worst = max(late, key=lambda finding: finding.severity.rank)
    reason = f"{len(late)} of {len(instruments)} instruments are late: {worst.reason}"
    return of_severity("age of bars", worst.severity, reason, _FETCH)


def _archive(settings: Settings, archive: Archive) -> Finding:
    read = size = 0
    for instrument in settings.instruments():
        entries = archive.entries(venue=instrument.venue, instrument=instrument.symbol)
        for entry in islice(entries, _SAMPLE):
            try:
                size += len(archive.load(entry).payload)
            except AutotraderError as error:
                todo = "restore it: `make restore ARGS='--reason WHY'`"
                return failed("archive", f"{entry.key} cannot be read: {error}", todo)
            read += 1
    if not read:
        return failed("archive", f"0 pages of {len(settings.instruments())} instruments", _FETCH)
    return ok("archive", f"{read} pages read back, {size:,} bytes, digests as recorded")
