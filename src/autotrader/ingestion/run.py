"""All steps after planning, one after the other, for one venue: what a person's fetch needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.ingestion.archive import archive_staged
from autotrader.ingestion.commit import Committed, commit_bars
from autotrader.ingestion.extract import Progress, VenueExtract, extract
from autotrader.ingestion.validate import Validated, validate_archived
from autotrader.ingestion.windows import Assignment
from autotrader.ports.archive import Archive
from autotrader.ports.holds import Holds
from autotrader.ports.market_data import MarketDataSources, PageDecoders
from autotrader.ports.places import Place, Places


@dataclass(frozen=True, slots=True)
class Ingested:
    """What a run did, step by step."""

    extracted: VenueExtract
    validated: tuple[Validated, ...]
    committed: Committed


def ingest(
    assignments: Sequence[Assignment],
    *,
    sources: MarketDataSources,
    decoders: PageDecoders,
    archive: Archive,
    lake: Lake,
    holds: Holds,
    staging: Place,
    places: Places = Path,
    latency: timedelta,
    progress: Progress | None = None,
) -> Ingested:
    """Fetch, archive, check and store the assignments of one venue.

    What was fetched is stored even of an instrument that did not come whole; `extracted.failures`
    names it. Raises as `extract`, `validate_archived` and `commit_bars` do.
    """
    extracted = extract(sources, decoders, assignments, staging=staging, progress=progress)
    decode = decoders(extracted.venue)
    validated = tuple(
        validate_archived(
            archive, decode, archive_staged(archive, a, staging=staging), places=places, latency=latency
        )
        for a in assignments
    )
    return Ingested(extracted, validated, commit_bars(lake, BarStore(lake, holds), validated, places=places))
