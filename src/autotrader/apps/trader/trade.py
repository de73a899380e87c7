"""Trade an account: live, or through recorded bars as if they were new."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from autotrader import command
from autotrader.adapters.entry_rules import RegistryEntryRules
from autotrader.adapters.paper_broker import PaperBroker
from autotrader.adapters.paper_journal import PaperJournal
from autotrader.adapters.paper_rules import assumed_rules, currencies
from autotrader.adapters.prediction_client import PredictionClient
from autotrader.adapters.process_owner import has_ended, this_process
from autotrader.adapters.routed_predictor import RoutedPredictor
from autotrader.alerts.postbox import Postbox
from autotrader.apps.trader.assembly import (
    LONGEST_SEND_SECONDS,
    Surroundings,
    assemble,
    make_keeper,
    of_venue,
)
from autotrader.apps.trader.history import PastBars, ReplayFeed, fetch_past, read_past
from autotrader.apps.trader.letters import RecoveryLetters
from autotrader.apps.trader.live_feed import LiveFeed, PolledBars
from autotrader.apps.trader.metrics import TradingMetrics
from autotrader.apps.trader.summary import TradingSummary, summarise
from autotrader.apps.trader.view import View
from autotrader.config.serving_token import serving_token
from autotrader.config.settings import BrokerKind, MarketSource, Settings
from autotrader.config.verify_credentials import require_confirmed
from autotrader.data.bars import BarStore
from autotrader.data.calendars import is_open
from autotrader.data.lake import Lake
from autotrader.domain.bars import last_closed_open
from autotrader.domain.errors import AutotraderError, ConfigurationError, ExitCode, NotFound
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.features.live import warm_up
from autotrader.ports.broker import Broker, Brokers
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.credentials import CredentialChecks
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.holds import Holds
from autotrader.ports.market_data import BarStreams, MarketDataSources, PageDecoders
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.trading import TradingRecords
from autotrader.trading.bars import Batch, Feed

log = structlog.get_logger(__name__)

_VENUES = {BrokerKind.BINANCE: Venue.BINANCE, BrokerKind.IBKR: Venue.IBKR, BrokerKind.OANDA: Venue.OANDA}


@dataclass(frozen=True)
class Ports:
    """All that a trader is given."""

    settings: Settings
    wall_clock: WallClock
    market_clock: MarketClock
    bars: BarStore
    records: TradingRecords
    deployment: DeploymentRecords
    registry: ModelRegistry
    sources: MarketDataSources
    decoders: PageDecoders
    streams: BarStreams
    brokers: Brokers
    checks: CredentialChecks
    postbox: Postbox


def trade(
    *,
    broker: BrokerKind | None = None,
    replay: tuple[datetime, ...] = (),
    account: str | None = None,
    quiet: bool = False,
    settings: Settings,
    wall_clock: WallClock,
    market_clock: MarketClock,
    lake: Lake,
    holds: Holds,
    records: TradingRecords,
    deployment: DeploymentRecords,
    registry: ModelRegistry,
    sources: MarketDataSources,
    decoders: PageDecoders,
    streams: BarStreams,
    brokers: Brokers,
    checks: CredentialChecks,
    postbox: Postbox,
) -> command.Result:
    """Trade on the predictions of whoever is live, within limits, until told to stop.

    One process trades an account at a time; another waits for its lease. It may be killed at any
    moment: started again, it finds out what the venue has done meanwhile and goes on, or says why
    it does not. Exit code 4 if it lost its lease.

    Parameters
    ----------
    broker : BrokerKind
        Default: the setting. Others than paper give real orders: the venue must confirm the credential
        first, and deny that it may withdraw; where orders would cost real money,
        AUTOTRADER_TRADING__LIVE must be set, too.
    replay : START END
        Trade the recorded bars in between, on paper, as fast as they come.
    account : str
        Name of the account here. Default: the setting; of a replay, one of its own.
    quiet : bool
        No live view, whatever the terminal can do.
    """
    kind = broker or settings.trading.broker
    ports = Ports(
        settings=settings,
        wall_clock=wall_clock,
        market_clock=market_clock,
        bars=BarStore(lake, holds),
        records=records,
        deployment=deployment,
        registry=registry,
        sources=sources,
        decoders=decoders,
        streams=streams,
        brokers=brokers,
        checks=checks,
        postbox=postbox,
    )
    window = _window(replay)
    if window is not None and kind is not BrokerKind.PAPER:
        raise ConfigurationError(f"expected --replay on paper, was on {kind}: real accounts live now")
    name = account or (settings.trading.account if window is None else _replay_account(*window))
    view = View(settings.risk, enabled=not quiet and sys.stderr.isatty())
    summary = asyncio.run(_trade(ports, kind, name, window, view))
    return command.Result(summary, summary.to_text(), ExitCode.DONE)


def _window(replay: tuple[datetime, ...]) -> tuple[datetime, datetime] | None:
    if not replay:
        return None
    if len(replay) != 2 or replay[0] >= replay[1]:
        raise ConfigurationError("expected --replay START END with START before END, was something else")
    return replay[0], replay[1]


def _replay_account(start: datetime, end: datetime) -> str:
    """A window's own account: the same window again goes on with it."""
    return f"replay-{start:%y%m%d%H%M}-{end:%y%m%d%H%M}"


async def _trade(
    ports: Ports,
    kind: BrokerKind,
    account: str,
    window: tuple[datetime, datetime] | None,
    view: View,
) -> TradingSummary:
    settings = ports.settings
    structlog.contextvars.bind_contextvars(account=account, strategy_id=settings.strategy.strategy_id)
    venue = _VENUES.get(kind, settings.venues[0])
    instruments = of_venue([i for i in settings.instruments() if i.venue is venue])
    if not instruments:
        raise ConfigurationError(f"expected instruments of {venue} to trade, were none: AUTOTRADER_VENUES")
    if kind is not BrokerKind.PAPER:
        await require_confirmed(venue.value, settings, ports.checks)
    replayed = window is not None or ports.market_clock.is_replay
    source = source_of(settings, venue, replayed=replayed)
    around = Surroundings(
        account=account,
        source=source,
        instruments=instruments,
        replayed=window is not None,
        longest_send_seconds=0.0 if kind is BrokerKind.PAPER else LONGEST_SEND_SECONDS,
    )
    keeper = make_keeper(
        settings, around, ports.records, ports.wall_clock, owner=this_process(), has_ended=has_ended
    )
    await keeper.take()
    async with contextlib.AsyncExitStack() as stack:
        first_open = _first_open(ports, account, window)
        past, feed = await _market(ports, stack, around, first_open, window)
        broker: Broker
        if kind is BrokerKind.PAPER:
            paper = await stack.enter_async_context(_paper(ports, around, venue, past))
            broker, feed = paper, PaperFeed(feed, paper)
        else:
            broker = await stack.enter_async_context(ports.brokers(venue, account))
        client = await stack.enter_async_context(PredictionClient(serving_token(settings)))
        predictor = RoutedPredictor(ports.deployment, client, ports.wall_clock)
        await stack.enter_async_context(predictor)
        letters = await stack.enter_async_context(
            RecoveryLetters(ports.postbox, source=source, base_currency=settings.trading.base_currency)
        )
        metrics = TradingMetrics(settings, ports.records, account)
        if window is None:  # a replay is over before anybody has scraped it
            stack.enter_context(metrics.served())
        entry_rules = RegistryEntryRules(
            ports.registry, settings.strategy.strategy_id, settings.home / "releases"
        )
        _warm_up(ports, entry_rules)
        made = await assemble(
            settings,
            around,
            keeper=keeper,
            broker=broker,
            records=ports.records,
            predictor=predictor,
            entry_rules=entry_rules,
            past=past,
            clock=ports.wall_clock,
            market_clock=None if window is not None else ports.market_clock,
            is_open=lambda: is_open(venue, ports.market_clock.now()),
            tell=letters.send,
            watch=_watchers(view.show, metrics.take),
        )
        stack.enter_context(view)
        # What is there by now stays: going through all of it for garbage takes half a second.
        gc.collect()
        gc.freeze()
        with _stopped_by_signals(made.session.stop):
            await made.session.run(feed, made.start, made.why)
    picture = settings.home.resolve() / "reports" / "trading" / f"{account}.png"
    return summarise(ports.records, account, entry_rules=entry_rules, picture=picture)


def source_of(settings: Settings, venue: Venue, *, replayed: bool) -> str:
    """Label of the bars; an account that saw a stand-in's never goes on with the venue's own."""
    of_stand_in = settings.binance.source.lower() in (MarketSource.RECORDED, MarketSource.SIMULATED)
    if replayed or (venue is Venue.BINANCE and of_stand_in):
        return settings.binance.source
    return "live"


def _warm_up(ports: Ports, entry_rules: RegistryEntryRules) -> None:
    """Load what the first bar would else wait for: kernels, and the live version's own figures."""
    warm_up()
    try:
        if (live := ports.deployment.live()) is not None:
            entry_rules.of(live.version)
    except AutotraderError as error:
        # What is held wants looking after all the same; until it is there, bars are without an opinion.
        log.warning("the live version's entry score is not to be had yet", reason=str(error))


def _watchers(*watchers: Callable[..., None]) -> Callable[..., None]:
    def watch(trader: object) -> None:
        for watcher in watchers:
            watcher(trader)

    return watch


def _first_open(ports: Ports, account: str, window: tuple[datetime, datetime] | None) -> datetime:
    """Open of the first bar that is to be dealt with."""
    interval = ports.settings.strategy.interval
    state = ports.records.state(account)
    if state is not None and state.cursor is not None:
        return state.cursor + interval.delta
    if window is not None:
        return window[0]
    return last_closed_open(ports.market_clock.now(), interval) + interval.delta


async def _market(
    ports: Ports,
    stack: contextlib.AsyncExitStack,
    around: Surroundings,
    first_open: datetime,
    window: tuple[datetime, datetime] | None,
) -> tuple[Mapping[InstrumentId, PastBars], Feed]:
    interval = ports.settings.strategy.interval
    if window is not None:
        past = read_past(ports.bars, around.instruments, interval, first_open)
        if missing := [str(i) for i in around.instruments if not past[i].ts_us.size]:
            raise NotFound(
                f"expected bars of {', '.join(missing)} before {first_open:%Y-%m-%d %H:%M}, were none: "
                "run data_pipeline, or begin the replay later"
            )
        return past, ReplayFeed(ports.bars, around.instruments, interval, first_open, window[1])
    venue = around.instruments[0].venue
    source, decode = ports.sources(venue), ports.decoders(venue)
    stack.push_async_callback(source.aclose)
    past = await fetch_past(source, decode, around.instruments, interval, first_open)
    latency = ports.settings.publication_latency_seconds(venue)
    stream = ports.streams(source) or PolledBars(source, ports.market_clock, latency)
    return past, LiveFeed(stream, source.available, decode, around.instruments, interval, first_open)


def _paper(
    ports: Ports, around: Surroundings, venue: Venue, past: Mapping[InstrumentId, PastBars]
) -> PaperBroker:
    settings = ports.settings
    return PaperBroker(
        around.account,
        venue,
        currency=currencies(around.instruments[0])[1],
        rules={i: assumed_rules(i, past[i].columns[2].tolist()) for i in around.instruments},
        settings=settings.paper,
        journal=PaperJournal(
            Path(settings.home) / "paper" / f"{around.account}.jsonl", durable=not around.replayed
        ),
        clock=ports.wall_clock,
    )


class PaperFeed:
    """Bars for the paper venue first, then for the trader."""

    def __init__(self, feed: Feed, paper: PaperBroker) -> None:
        self._feed = feed
        self._paper = paper

    async def batches(self) -> AsyncIterator[Batch]:
        async for batch in self._feed.batches():
            await self._paper.take(batch)
            yield batch


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


if __name__ == "__main__":
    raise SystemExit(command.run(trade))
