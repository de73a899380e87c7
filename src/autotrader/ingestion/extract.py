"""Extract: a venue's pages into the staging folder, several instruments at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from autotrader.data.calendars import expected_opens
from autotrader.domain.errors import AutotraderError, BadData, DependencyError, NotFound, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ingestion.staging import StagedPages, folder_of
from autotrader.ingestion.windows import Assignment
from autotrader.ports.market_data import MarketDataSource, MarketDataSources, PageDecoder, PageDecoders
from autotrader.ports.places import Place

log = structlog.get_logger(__name__)

CONCURRENT_INSTRUMENTS = 4

Progress = Callable[[Assignment, datetime], None]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What became of one assignment.

    Attributes
    ----------
    assignment : Assignment
    folder : str
        Its staging folder.
    pages, resumed_pages : int
        Staged pages, and how many of them were there from an earlier attempt.
    payload_bytes : int
        Received in this attempt.
    error : str or None
        Why it is not complete; pages that came before stay staged.
    may_come : bool
        Whether it is worth another try, where it is not complete.
    """

    assignment: Assignment
    folder: str
    pages: int
    resumed_pages: int
    payload_bytes: int
    error: str | None = None
    may_come: bool = False


@dataclass(frozen=True, slots=True)
class VenueExtract:
    """What a venue delivered."""

    venue: Venue
    instruments: tuple[Extracted, ...]

    @property
    def failures(self) -> dict[str, str]:
        """Instrument to reason, of those that are not complete."""
        return {e.assignment.instrument: e.error for e in self.instruments if e.error}

    @property
    def may_come(self) -> bool:
        """Whether another try may bring an instrument that is not complete."""
        return any(e.may_come for e in self.instruments)


def extract(
    sources: MarketDataSources,
    decoders: PageDecoders,
    assignments: Sequence[Assignment],
    *,
    staging: Place,
    concurrency: int = CONCURRENT_INSTRUMENTS,
    progress: Progress | None = None,
) -> VenueExtract:
    """Fetch all assignments of one venue into the staging folder.

    Goes on behind the last staged page of an earlier attempt. An instrument that fails does not
    stop the others: its error is in the result.

    Parameters
    ----------
    assignments : sequence of Assignment
        At least one, all of one venue.
    progress : callable or None
        Told the assignment and the end of each page as it is staged.

    Raises
    ------
    NotFound, Rejected, Throttled, Unreachable
        If no instrument is complete: as the first one failed that is worth another try, or the first.
    Unreachable
        If the venue sent no bar at all although its calendar has some in the windows.
    Rejected, DependencyError
        If the staging folder cannot be written.
    """
    (venue,) = {a.venue for a in assignments}

    async def run() -> VenueExtract:
        source = sources(venue)
        try:
            return await _extract(source, decoders(venue), assignments, staging, concurrency, progress)
        finally:
            await source.aclose()

    return asyncio.run(run())


async def _extract(
    source: MarketDataSource,
    decode: PageDecoder,
    assignments: Sequence[Assignment],
    staging: Place,
    concurrency: int,
    progress: Progress | None,
) -> VenueExtract:
    turns = asyncio.Semaphore(concurrency)
    errors: list[AutotraderError] = []

    async def one(assignment: Assignment) -> Extracted:
        folder = folder_of(staging, assignment)
        staged = StagedPages(folder)
        resumed, received, failure, may_come = len(staged), 0, None, False
        async with turns:
            start = staged.resume_at(assignment.start)
            pages = source.pages(assignment.instrument, assignment.interval, start, assignment.end)
            while failure is None:
                try:
                    page = await anext(pages)
                except StopAsyncIteration:
                    break
                except (DependencyError, NotFound, BadData) as error:
                    log.warning("instrument not extracted", instrument=str(assignment.id), reason=str(error))
                    errors.append(error)
                    failure = f"{type(error).__name__}: {error}"
                    may_come = isinstance(error, Unreachable)
                else:
                    staged.add(page)
                    received += len(page.payload)
                    if progress is not None:
                        progress(assignment, page.end)
        return Extracted(assignment, str(folder), len(staged), resumed, received, failure, may_come)

    found = VenueExtract(source.venue, tuple(await asyncio.gather(*(one(a) for a in assignments))))
    if len(errors) == len(assignments):
        raise next((e for e in errors if isinstance(e, Unreachable)), errors[0])
    if not any(_has_bars(StagedPages(folder_of(staging, e.assignment)), decode) for e in found.instruments):
        missed = [e.assignment for e in found.instruments if _is_due(e.assignment)]
        if missed:
            raise Unreachable(
                f"expected bars from {source.venue.value}, was nothing at all for "
                f"{', '.join(str(a) for a in missed)}: ask its status page, then run again"
            )
    return found


def _has_bars(pages: StagedPages, decode: PageDecoder) -> bool:
    for page in pages:
        try:
            if decode(page).height:
                return True
        except BadData:
            return True  # something came; validation says what
    return False


def _is_due(assignment: Assignment) -> bool:
    opens = expected_opens(assignment.venue, assignment.interval, assignment.start, assignment.end)
    return len(opens) > 0
