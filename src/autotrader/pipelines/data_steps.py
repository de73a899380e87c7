"""Steps of `data_pipeline` up to the bars in the lake."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import structlog

from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.places import write_whole
from autotrader.domain.errors import ConfigurationError, DependencyError, NotFound, Unreachable
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.files import storage_errors
from autotrader.ingestion import commit
from autotrader.ingestion.archive import Archived, archive_staged, find_archived
from autotrader.ingestion.extract import extract
from autotrader.ingestion.staging import folder_of, forget_old_runs
from autotrader.ingestion.validate import Validated, validate_archived
from autotrader.ingestion.windows import Assignment, Mode, plan_window
from autotrader.pipelines.params import DATA_RETRIES
from autotrader.pipelines.values import in_groups, read_day, staging_of
from autotrader.plain import from_plain
from autotrader.ports.archive import Archive
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds
from autotrader.ports.market_data import MarketDataSources, PageDecoders
from autotrader.ports.places import Place, Places

log = structlog.get_logger(__name__)

DAG_ID = "data_pipeline"
PLAN_FILE = "plan.json"
TRIES_FILE = "tries"

# Airflow maps one task instance a group. More instruments than this share one.
MAX_GROUPS = 64

# A gateway of theirs takes one connection of a client id: its instruments go through one task.
ONE_CONNECTION = frozenset({Venue.IBKR})


@dataclass(frozen=True, slots=True)
class Work:
    """What one mapped task has to do.

    Attributes
    ----------
    label : str
        Shown in the UI.
    mode : Mode
    staging : str
    assignments : tuple of Assignment
        All of one venue.
    failures : Mapping[str, str]
        Instruments that did not come whole, each with the reason.
    """

    label: str
    mode: Mode
    staging: str
    assignments: tuple[Assignment, ...]
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArchivedWork:
    """Work whose pages are in the archive."""

    label: str
    mode: Mode
    archived: tuple[Archived, ...]
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ValidatedWork:
    """Work whose rows are staged."""

    label: str
    mode: Mode
    validated: tuple[Validated, ...]
    failures: Mapping[str, str] = field(default_factory=dict)


def plan_ingestion(
    *,
    run_key: str,
    mode: str = Mode.INCREMENTAL,
    start_date: str | None = None,
    end_date: str | None = None,
    date: str | None = None,
    venues: list[str] | None = None,
    instruments: list[str] | None = None,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    clock: MarketClock,
    sources: MarketDataSources,
    places: Places,
) -> list[Work]:
    """Choose a window for each instrument, and group instruments into tasks.

    An instrument of the settings that its venue does not have is left out and named; one that was
    asked for by name is an error. A venue that cannot be asked now keeps its place: its own task
    will fail, and say why.

    Raises
    ------
    ConfigurationError
        If dates and mode do not fit, or nothing is left to load.
    NotFound
        If an instrument that was asked for does not exist.
    """
    chosen = _chosen(settings, venues, instruments)
    wanted = _mode(mode)
    store = BarStore(lake, holds)
    interval = settings.strategy.interval
    windows = {
        name: plan_window(
            wanted,
            now=clock.now(),
            interval=interval,
            high_water_mark=store.high_water_mark(name, interval),
            initial_days=settings.ingestion.initial_days,
            start_date=read_day(start_date, "start_date"),
            end_date=read_day(end_date, "end_date"),
            day=read_day(date, "date"),
        )
        for name in chosen
    }
    missing = {} if wanted is Mode.REPROCESS else asyncio.run(_missing(sources, chosen))
    if instruments and missing:
        raise NotFound("; ".join(f"{name}: {reason}" for name, reason in missing.items()))
    for name, reason in missing.items():
        log.warning("instrument left out", instrument=str(name), reason=reason)
    assignments = [
        Assignment(name.venue, name.symbol, interval, *window)
        for name, window in windows.items()
        if name not in missing
    ]
    if not assignments:
        raise ConfigurationError(f"expected an instrument to load, was none: {missing or 'none is set'}")
    staging = staging_of(places, settings, DAG_ID, run_key)
    forget_old_runs(staging.parent)
    left_out = {str(name): reason for name, reason in missing.items()}
    write_whole(staging / PLAN_FILE, json.dumps({"left_out": left_out}).encode(), durable=False)
    return _group(assignments, wanted, staging)


def extract_market_data(
    *, work: Mapping[str, Any], sources: MarketDataSources, decoders: PageDecoders, places: Places
) -> Work:
    """Fetch the venue's pages into the staging folder; a reprocess asks no venue.

    An instrument that did not come whole keeps none of the others back: it is named in the result,
    and the run's last word is critical. Before that it is tried again where that may help.

    Raises
    ------
    Unreachable, Throttled, Rejected, NotFound
        If no instrument came whole, or one that did not is worth one more of the task's tries; what
        came is staged, and the next try goes on from there.
    """
    todo = from_plain(Work, work)
    if todo.mode is Mode.REPROCESS:
        return todo
    staging = places(todo.staging)
    earlier = _count_try(folder_of(staging, todo.assignments[0]) / TRIES_FILE)
    delivered = extract(sources, decoders, todo.assignments, staging=staging)
    if delivered.may_come and earlier < DATA_RETRIES:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in delivered.failures.items())
        raise Unreachable(f"{delivered.venue.value} did not deliver everything: {reasons}")
    return replace(todo, failures=delivered.failures)


def archive_raw_data(*, work: Mapping[str, Any], archive: Archive, places: Places) -> ArchivedWork:
    """Put the staged pages into the archive; a reprocess finds there what was put before."""
    done = from_plain(Work, work)
    step = find_archived if done.mode is Mode.REPROCESS else archive_staged
    archived = tuple(step(archive, a, staging=places(done.staging)) for a in done.assignments)
    return ArchivedWork(done.label, done.mode, archived, done.failures)


def validate_data(
    *,
    work: Mapping[str, Any],
    archive: Archive,
    decoders: PageDecoders,
    settings: Settings,
    places: Places,
) -> ValidatedWork:
    """Read bars from the archived pages, check them, stage the clean and the refused ones."""
    done = from_plain(ArchivedWork, work)
    validated = tuple(
        validate_archived(
            archive,
            decoders(pages.assignment.venue),
            pages,
            places=places,
            latency=timedelta(seconds=settings.publication_latency_seconds(pages.assignment.venue)),
        )
        for pages in done.archived
    )
    return ValidatedWork(done.label, done.mode, validated, done.failures)


def commit_bars(
    *,
    run_key: str,
    validated: Sequence[Mapping[str, Any]],
    settings: Settings,
    lake: Lake,
    holds: Holds,
    clock: MarketClock,
    places: Places,
) -> list[Work]:
    """Store the bars of all instruments in one commit; returns the work that features need.

    Features are derived again for every window, changed or not: after a kill between two commits
    they are what differs.

    Raises
    ------
    NotFound
        If no instrument was validated; trying again would not help.
    """
    done = [from_plain(ValidatedWork, one) for one in validated]
    if not done:
        raise NotFound("expected validated bars of at least one instrument, was none: see the tasks before")
    loads = [load for one in done for load in one.validated]
    seen_at = clock.now() if done[0].mode is Mode.REPROCESS else None
    committed = commit.commit_bars(lake, BarStore(lake, holds), loads, places=places, seen_at=seen_at)
    log.info("bars committed", run_key=run_key, report=committed)
    staging = staging_of(places, settings, DAG_ID, run_key)
    return _group([load.assignment for load in loads], done[0].mode, staging)


def left_out_of(staging: Place) -> dict[str, str]:
    """Instruments that the plan of the run left out, each with the reason."""
    path = staging / PLAN_FILE
    left_out: dict[str, str] = json.loads(path.read_bytes())["left_out"] if path.exists() else {}
    return left_out


def _count_try(path: Place) -> int:
    """How often the work was begun before; counted in its staging, which all its tries see."""
    with storage_errors(f"read {path}"):
        earlier = int(path.read_bytes()) if path.exists() else 0
    write_whole(path, str(earlier + 1).encode(), durable=False)
    return earlier


def _chosen(
    settings: Settings, venues: list[str] | None, instruments: list[str] | None
) -> list[InstrumentId]:
    unknown = set(venues or ()) - set(Venue)
    if unknown:
        raise ConfigurationError(f"expected venues of {', '.join(Venue)}, was {', '.join(sorted(unknown))}")
    in_use = tuple(Venue(v) for v in venues) if venues else settings.venues
    of_settings = list(settings.model_copy(update={"venues": in_use}).instruments())
    if not instruments:
        return of_settings
    by_name = {i.symbol: i for i in of_settings}
    if len(in_use) == 1:
        return [by_name.get(name, InstrumentId(in_use[0], name)) for name in instruments]
    strangers = [name for name in instruments if name not in by_name]
    if strangers:
        raise ConfigurationError(
            f"expected instruments of the settings, or one venue with them, was {', '.join(strangers)}"
        )
    return [by_name[name] for name in instruments]


async def _missing(sources: MarketDataSources, chosen: Sequence[InstrumentId]) -> dict[InstrumentId, str]:
    missing: dict[InstrumentId, str] = {}
    for venue in dict.fromkeys(i.venue for i in chosen):
        source = sources(venue)
        try:
            answer = await source.available([i.symbol for i in chosen if i.venue is venue])
        except DependencyError as error:
            log.warning("venue does not answer", venue=venue.value, error=str(error))
        else:
            missing |= {InstrumentId(venue, symbol): reason for symbol, reason in answer.items()}
        finally:
            await source.aclose()
    return missing


def _group(assignments: Sequence[Assignment], mode: Mode, staging: Place) -> list[Work]:
    works = []
    for venue in dict.fromkeys(a.venue for a in assignments):
        of_venue = [a for a in assignments if a.venue is venue]
        for group in in_groups(of_venue, at_most=1 if venue in ONE_CONNECTION else MAX_GROUPS):
            label = str(group[0].id) if len(group) == 1 else f"{venue.value}: {len(group)} instruments"
            works.append(Work(label, mode, str(staging), tuple(group)))
    return works


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        raise ConfigurationError(f"expected a mode of {', '.join(Mode)}, was {text!r}") from None
