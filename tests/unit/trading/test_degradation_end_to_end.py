"""The table, lived through: what the trader does bar by bar while a part is away, and once it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.paper_broker import PaperBroker
from autotrader.apps.trader.assembly import assemble
from autotrader.config.settings import Settings
from autotrader.domain.errors import Unreachable
from autotrader.domain.thresholds import DEGRADATION
from autotrader.domain.trading import Cause, TradingState
from autotrader.execution.strategy import EntryRule
from autotrader.ports.trading import Change, Lease, TradingRecords
from autotrader.trading import session
from autotrader.trading.bars import Batch
from autotrader.trading.trader import Trader
from tests.fakes.clocks import SettableClock
from tests.trading import BTC, ETH, MINUTE, START, Scores, World, past_of, walk

PACE = timedelta(seconds=20)  # of the wall clock, from bar to bar: more than a tick
AWAY_FROM, AWAY_UNTIL, BARS = 3, 23, 30


class Cut:
    """The paper venue, which says nothing while the line is cut."""

    def __init__(self, paper: PaperBroker) -> None:
        self._paper = paper
        self.is_cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._paper, name)

    async def fills(self, *asked: Any) -> Any:
        if self.is_cut:
            raise Unreachable("expected fills, was silence")
        return await self._paper.fills(*asked)


def expected(cause: Cause, away: timedelta) -> TradingState:
    """What the table says after so long."""
    due = [row.state for row in DEGRADATION if row.cause is cause and away >= row.after]
    return due[-1] if due else TradingState.ACTIVE


class CutRecords:
    """Records that cannot be written while the line is cut."""

    def __init__(self, records: TradingRecords) -> None:
        self._records = records
        self.is_cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def write(self, lease: Lease, change: Change) -> None:
        if self.is_cut:
            raise Unreachable("expected a database, was silence")
        self._records.write(lease, change)


@pytest.mark.parametrize("cause", [Cause.PREDICTIONS, Cause.REGISTRY, Cause.BROKER, Cause.DATABASE])
def test_while_a_part_is_away_the_trader_does_what_the_table_says(
    cause: Cause, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SettableClock(SystemWallClock().now())
    predictor = Scores(lambda *_: 0.0)
    lines: list[Cut] = []

    def wrap(paper: PaperBroker) -> Any:
        lines.append(Cut(paper))
        return lines[0]

    world = World(
        tmp_path,
        walk((BTC,), BARS),
        instruments=(BTC,),
        predictor=predictor,
        clock=clock,
        wrap=wrap,
    )

    written = CutRecords(world.records)
    world.records = written  # type: ignore[assignment]

    def unreadable(version: str) -> EntryRule:
        raise Unreachable(f"expected a score for {version}, was silence")

    def cut(is_cut: bool) -> None:
        match cause:
            case Cause.PREDICTIONS:
                predictor.fails = Unreachable("expected a prediction, was silence") if is_cut else None
            case Cause.REGISTRY:
                monkeypatch.setattr(predictor, "of", unreadable if is_cut else (lambda _: EntryRule(0.1, 1)))
            case Cause.DATABASE:
                written.is_cut = is_cut
            case _:
                lines[0].is_cut = is_cut

    seen: dict[int, TradingState] = {}

    def before_each(batch: Batch) -> None:
        number = (batch.ts - START) // MINUTE
        clock.advance(PACE)
        if number == AWAY_FROM:
            cut(True)
        if number == AWAY_UNTIL:
            cut(False)

    def watch(trader: Trader) -> None:
        if trader.accounting.state.cursor is not None:
            seen[(trader.accounting.state.cursor - START) // MINUTE] = trader.accounting.state.state

    world.run(before_each=before_each, watch=watch)

    # Reconciliation looks once a minute, so the broker's outage is noticed up to three bars later; the
    # database's at the next heartbeat.
    slack = {Cause.BROKER: 3, Cause.DATABASE: 2}.get(cause, 1)
    assert seen[AWAY_FROM - 1] is TradingState.ACTIVE
    for number in range(AWAY_FROM, AWAY_UNTIL):
        away = number - AWAY_FROM
        allowed = {expected(cause, PACE * (away - late)) for late in range(slack + 1)}
        assert seen[number] in allowed, number
    worst = max((row.state for row in DEGRADATION if row.cause is cause), key=lambda state: state.rank)
    assert max(seen.values(), key=lambda state: state.rank) is worst, "away for long enough to see every row"
    assert seen[BARS - 1] is TradingState.ACTIVE, "and it ends when the part is back"


def test_a_database_that_answers_again_is_away_until_the_reconciliation_agrees(tmp_path: Path) -> None:
    clock = SettableClock(SystemWallClock().now())
    lines: list[Cut] = []

    def wrap(paper: PaperBroker) -> Any:
        lines.append(Cut(paper))
        return lines[0]

    world = World(tmp_path, walk((BTC,), BARS), instruments=(BTC,), clock=clock, wrap=wrap)
    world.predictor = Scores(lambda *_: 0.0)
    written = CutRecords(world.records)
    world.records = written  # type: ignore[assignment]
    causes: dict[int, set[Cause]] = {}

    def before_each(batch: Batch) -> None:
        number = (batch.ts - START) // MINUTE
        clock.advance(PACE)
        written.is_cut = 3 <= number < 8
        lines[0].is_cut = 3 <= number < 15

    def watch(trader: Trader) -> None:
        state = trader.accounting.state
        if state.cursor is not None:
            causes[(state.cursor - START) // MINUTE] = {r.cause for r in state.restrictions}

    world.run(before_each=before_each, watch=watch)
    assert all(Cause.DATABASE in causes[number] for number in range(6, 15))
    assert causes[BARS - 1] == set()


def test_the_reconciliation_after_an_outage_of_the_database_is_due_at_once(tmp_path: Path) -> None:
    clock = SettableClock(SystemWallClock().now())
    settings = Settings(_env_file=None, trading={"reconcile_seconds": 86_400})  # type: ignore[arg-type]
    world = World(tmp_path, walk((BTC,), 20), instruments=(BTC,), clock=clock, settings=settings)
    world.predictor = Scores(lambda *_: 0.0)
    written = CutRecords(world.records)
    world.records = written  # type: ignore[assignment]
    seen: dict[int, TradingState] = {}

    def before_each(batch: Batch) -> None:
        clock.advance(PACE)
        written.is_cut = 3 <= (batch.ts - START) // MINUTE < 8

    def watch(trader: Trader) -> None:
        if (cursor := trader.accounting.state.cursor) is not None:
            seen[(cursor - START) // MINUTE] = state_of(trader)

    world.run(before_each=before_each, watch=watch)
    assert seen[7] is TradingState.HALTED
    assert seen[11] is TradingState.ACTIVE


class Silent:
    """Two bars, and then none."""

    def __init__(self, bars: list[Batch], paper: PaperBroker) -> None:
        self._bars = bars
        self._paper = paper

    async def batches(self) -> AsyncIterator[Batch]:
        for batch in self._bars[:2]:
            await self._paper.take(batch)
            yield batch
        await asyncio.Event().wait()


@pytest.mark.parametrize("is_open", [True, False])
def test_a_silent_feed_is_an_outage_while_the_market_is_open(
    is_open: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "TICK_SECONDS", 0.002)
    clock = SettableClock(SystemWallClock().now())
    world = World(tmp_path, walk((BTC,), 5), instruments=(BTC,), clock=clock)
    seen: list[tuple[timedelta, TradingState]] = []
    silent_since: list[float] = []

    async def trade() -> None:
        keeper = await world.keeper()
        async with world.paper() as paper:

            def watch(trader: Trader) -> None:
                if trader.market_now == START + 2 * MINUTE:
                    silent_since.append(clock.monotonic())
                    seen.append((timedelta(seconds=clock.monotonic() - silent_since[0]), state_of(trader)))
                    clock.advance(PACE)
                if len(seen) == 20:
                    made.session.stop()

            made = await assemble(
                world.settings,
                replace(world.around, replayed=False),
                keeper=keeper,
                broker=paper,
                records=world.records,
                predictor=world.predictor,
                entry_rules=world.predictor,
                past=past_of(world.bars, START),
                clock=clock,
                market_clock=None,
                is_open=lambda: is_open,
                watch=watch,
            )
            await made.session.run(Silent(world.live, paper), made.start, made.why)

    asyncio.run(trade())
    assert len(seen) == 20
    if not is_open:
        assert {state for _, state in seen} == {TradingState.ACTIVE}
        return
    for silent, state in seen:
        assert state in {expected(Cause.FEED, max(silent - PACE, timedelta(0))), expected(Cause.FEED, silent)}
    assert seen[-1][1] is TradingState.HALTED


class OneStream:
    """Two minutes of both, silence, some minutes of ETH alone, and at last one of both."""

    def __init__(self, bars: list[Batch], paper: PaperBroker) -> None:
        self._bars = bars
        self._paper = paper
        self.halted = asyncio.Event()
        self.ticks = 0

    async def batches(self) -> AsyncIterator[Batch]:
        for batch in (*self._bars[:2], *self._bars[10:13]):
            if batch is self._bars[10]:
                await self.halted.wait()
            if self.halted.is_set():
                batch = replace(batch, bars=tuple(bar for bar in batch.bars if bar.instrument == ETH))
            await self._paper.take(batch)
            yield batch
            await self._some_ticks()
        await self._paper.take(self._bars[13])
        yield self._bars[13]
        await self._some_ticks()

    async def _some_ticks(self) -> None:
        until = self.ticks + 3
        while self.ticks < until:
            await asyncio.sleep(0)


def test_a_silent_feed_is_well_again_with_a_bar_of_every_instrument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "TICK_SECONDS", 0.002)
    clock = SettableClock(SystemWallClock().now())
    world = World(tmp_path, walk((BTC, ETH), 20), clock=clock, replayed=False)
    feeds: list[OneStream] = []

    def opened(paper: PaperBroker) -> PaperBroker:
        feeds.append(OneStream(world.live, paper))
        return paper

    class Opened:
        def batches(self) -> AsyncIterator[Batch]:
            return feeds[0].batches()

    seen: dict[datetime | None, TradingState] = {}

    def watch(trader: Trader) -> None:
        seen[trader.market_now] = state_of(trader)
        feeds[0].ticks += 1
        if trader.market_now == world.live[1].closed_at:
            clock.advance(PACE)
            if state_of(trader) is TradingState.HALTED:
                feeds[0].halted.set()
        else:
            clock.advance(timedelta(seconds=1))

    world.wrap = opened
    asyncio.run(world.trade(feed=Opened(), watch=watch))
    for number in (10, 11, 12):
        assert seen[world.live[number].closed_at] is TradingState.HALTED, "BTC's price is old"
    assert seen[world.live[13].closed_at] is TradingState.ACTIVE


def state_of(trader: Trader) -> TradingState:
    return trader.accounting.state.state
