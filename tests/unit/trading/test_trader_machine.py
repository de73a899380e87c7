"""Whatever the venue does, and wherever the process dies: no order twice, no limit exceeded, nothing lost.

A life of the trader is one start on the same folder. Faults and crashes are chosen by Hypothesis; the
venue's side is asked for the truth. `AUTOTRADER_TEST_EXAMPLES=500` looks for longer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from autotrader.adapters.paper_broker import PaperBroker
from autotrader.adapters.paper_journal import PaperJournal
from autotrader.config.settings import Settings
from autotrader.domain.errors import DependencyError
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import ZERO, Order, OrderStatus, Side
from autotrader.domain.trading import Cause, ControlKind, RunStatus, TradingState
from autotrader.ports.broker import Broker
from autotrader.ports.trading import Change, Control, Lease, Page, TradingRecords
from autotrader.trading.bars import Batch
from autotrader.trading.trader import Trader
from tests.fakes.clocks import SettableClock
from tests.fakes.misbehaving_broker import Afterlife, Fault, MisbehavingBroker, in_order
from tests.trading import BTC, ETH, START, World, walk

EXAMPLES = int(os.environ.get("AUTOTRADER_TEST_EXAMPLES", "20"))
# Shrinking takes minutes: for a person who looks into a failure.
PHASES = tuple(Phase) if "AUTOTRADER_TEST_EXAMPLES" in os.environ else (Phase.generate,)
WALL = datetime(2026, 11, 21, tzinfo=UTC)
ALL = Page(limit=100_000)
CASH = Decimal(100_000)
POSITION, STRATEGY, NOTIONAL, BAND = Decimal("0.2"), Decimal("0.5"), Decimal(50_000), Decimal("0.02")
BARS = walk((BTC, ETH), 600)

faults = st.dictionaries(st.integers(0, 60), st.sampled_from(list(Fault)), max_size=8)


class Crash(BaseException):
    """The process is gone: nothing of it runs any more."""


class Mortality:
    """Counts what a process does to the world, and ends it at one of these steps."""

    def __init__(self, at: int | None) -> None:
        self.left = at
        self.is_dead = False

    def step(self) -> None:
        if self.is_dead:
            raise Crash
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.is_dead = True
                raise Crash


class MortalRecords:
    """Records of a process that may die before and after each write."""

    def __init__(self, records: TradingRecords, mortality: Mortality) -> None:
        self._records = records
        self._mortality = mortality

    def write(self, lease: Lease, change: Change) -> None:
        self._mortality.step()
        self._records.write(lease, change)
        self._mortality.step()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


class MortalBroker(MisbehavingBroker):
    """A misbehaving venue, to a process that may die before and after each call."""

    def __init__(self, mortality: Mortality, broker: Broker, *arguments: Any, **options: Any) -> None:
        super().__init__(broker, *arguments, **options)
        for name in ("account", "open_orders", "order", "fills", "submit", "cancel"):
            setattr(self, name, self._mortal(mortality, getattr(super(), name)))

    @staticmethod
    def _mortal(mortality: Mortality, call: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*arguments: Any) -> Any:
            mortality.step()
            answer = await call(*arguments)
            mortality.step()
            return answer

        return called


class MortalJournal(PaperJournal):
    """The venue is in this process, so a process may die between its steps, too."""

    mortality: Mortality

    def append(self, entries: Sequence[dict[str, Any]]) -> None:
        self.mortality.step()
        super().append(entries)
        self.mortality.step()


class Traders(RuleBasedStateMachine):
    """Lives of a trader, one after the other."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.clock = SettableClock(WALL)
        self.lives = 0
        self.world = World(
            self.folder,
            BARS,
            settings=Settings(_env_file=None, trading={"reconcile_seconds": 10}),  # type: ignore[arg-type]
            clock=self.clock,
            owner=lambda: f"life-{self.lives}",
            has_ended=lambda owner: owner != f"life-{self.lives}",
        )
        self.records = self.world.records
        self.afterlife = Afterlife()
        self.order_times: list[datetime] = []
        self.prices_at: dict[datetime, dict[InstrumentId, Decimal]] = {}
        self.was_stale = False
        self.asked = 0

    def teardown(self) -> None:
        if hasattr(self, "asked"):
            self.look_in_the_end()
            shutil.rmtree(self.folder)

    # -------------------------------------------------------------------------------- the rules

    @rule(bars=st.integers(1, 25), faults=faults)
    def live(self, bars: int, faults: dict[int, Fault]) -> None:
        if self.one_life(bars, faults):
            self.look()

    @rule(bars=st.integers(1, 25), faults=faults, dies_at=st.integers(0, 150))
    def die(self, bars: int, faults: dict[int, Fault], dies_at: int) -> None:
        self.one_life(bars, faults, dies_at)

    @rule(kind=st.sampled_from([ControlKind.HALT, ControlKind.RESUME, ControlKind.RECONCILE]))
    def ask(self, kind: ControlKind) -> None:
        self.asked += 1
        self.records.ask(Control(f"c{self.asked}", "main", kind, "ada", "the machine asks", self.clock.now()))

    def one_life(self, bars: int, faults: dict[int, Fault], dies_at: int | None = None) -> bool:
        """Whether it came to an end in order: not dead, and with a venue that answered at the start."""
        self.lives += 1
        mortality = Mortality(dies_at)
        self.was_stale |= Fault.STALE_ACCOUNT in faults.values()
        MortalJournal.mortality = Mortality(None)

        def wrapped(paper: PaperBroker) -> Broker:
            MortalJournal.mortality = mortality
            self.paper = paper
            return MortalBroker(
                mortality, paper, in_order(faults), self.afterlife, on_submit=self.judge_from_there
            )

        self.world.wrap = wrapped
        self.world.records = MortalRecords(self.records, mortality)  # type: ignore[assignment]
        state = self.records.state("main")
        cursor = state.cursor if state and state.cursor else START - timedelta(minutes=1)
        coming = [batch for batch in self.world.live if batch.ts > cursor][:bars]
        try:
            asyncio.run(self.world.trade(bars=coming, before_each=self.before_each, watch=self.watch))
        except (Crash, DependencyError):
            return False
        return True

    def before_each(self, batch: Batch) -> None:
        self.clock.advance(timedelta(seconds=2))
        self.prices_at[batch.closed_at] = {bar.instrument: bar.price for bar in batch.bars}

    # ------------------------------------------------------------------------- what must hold

    def watch(self, trader: Trader) -> None:
        """Equity is cash plus positions, to the cent, as often as anybody looks."""
        book = trader.book
        held = sum((book.quantity(i) * book.prices[i] for i in (BTC, ETH)), ZERO)
        assert book.equity() == book.cash() + held
        fees = sum((p.fees for p in book.holdings.positions.values()), ZERO)
        earned = sum(
            (p.realised + p.unrealised(book.prices[i]) for i, p in book.holdings.positions.items()), ZERO
        )
        assert abs(book.equity() - CASH - earned + fees) < Decimal("0.005")

    async def judge_from_there(self, order: Order) -> None:
        """The venue gets each order once, and none that could exceed a limit at what it was decided at."""
        assert await self.paper.order(order) is None, "an order was sent twice"
        state = self.records.state("main")
        assert state is not None
        stored = self.records.order(order.client_order_id)
        assert stored is not None, "sent before it was recorded"
        self.order_times.append(order.decided_at)
        for length, most in ((1, 10), (60, 100), (1440, 1000)):
            since = order.decided_at - timedelta(minutes=length)
            assert sum(at > since for at in self.order_times) <= most
        tripped = any(r.cause.is_breaker for r in state.restrictions)
        assert state.state is TradingState.ACTIVE or (
            order.reduces and (tripped or state.state is TradingState.REDUCING)
        )
        # One that had been recorded before a crash is sent after it, when the bars have gone on.
        at, price = order.decided_at, order.reference_price
        prices = self.prices_at[at]
        (then,) = self.records.equity("main", Page(start=at, end=at + timedelta(seconds=1)))
        assert abs((order.limit_price or price) - price) <= BAND * price
        if self.afterlife.said_cancelled:
            return  # what was traded after the venue said that it would not be is nobody's limit
        account = await self.paper.account((BTC, ETH))
        worth, worst = account.cash["USDT"], {}
        for instrument in (BTC, ETH):
            held = account.positions.get(instrument, ZERO)
            worth += held * prices[instrument]
            working = [o for o in await self.paper.open_orders() if o.instrument == instrument]
            buying = sum((o.quantity - o.filled for o in working if o.side is Side.BUY), ZERO)
            selling = sum((o.quantity - o.filled for o in working if o.side is Side.SELL), ZERO)
            if instrument == order.instrument and order.side is Side.SELL:
                assert selling + order.quantity <= held, "sold short"
            worst[instrument] = (held + buying) * prices[instrument]
        # Costs of fills that were not told yet are missing in the equity that limits are shares of.
        assert abs(then.equity - worth) < worth / 500
        if order.side is Side.BUY:
            added = order.quantity * price
            assert order.quantity * (order.limit_price or price) <= NOTIONAL
            assert worst[order.instrument] + added <= POSITION * then.equity
            assert sum(worst.values()) + added <= STRATEGY * then.equity

    def look(self) -> None:
        """After an end in order: what was written is what it is made of, and why it may not trade is said."""
        state = self.records.state("main")
        assert state is not None
        assert state.status is RunStatus.STOPPED
        assert state.state is TradingState.ACTIVE or all(r.reason for r in state.restrictions)
        fills = self.records.fills("main", ALL)
        assert state.cash.get("USDT", ZERO) == CASH - sum(f.signed * f.price + f.fee for f in fills)
        for instrument, position in self.records.holdings("main").positions.items():
            assert position.quantity == sum(f.signed for f in fills if f.instrument == instrument)
        at = [point.at for point in reversed(self.records.equity("main", ALL))]
        assert at == [START + timedelta(minutes=n + 1) for n in range(len(at))]
        for instrument in (BTC, ETH):
            signals = self.records.signals("main", Page(instrument=instrument, limit=100_000))
            assert len(signals) == len(at)

    def look_in_the_end(self) -> None:
        """Two calm starts: what was in doubt is settled, and the venue and we agree."""
        for _ in range(2):
            assert self.one_life(8, {})
            self.look()
        venue = self.world.paper()
        account = asyncio.run(venue.account((BTC, ETH)))
        at_venue = {
            order.client_order_id: order
            for order in (asyncio.run(venue.order(o)) for o in self.orders())
            if order
        }
        state = self.records.state("main")
        assert state is not None
        assert account.cash == state.cash
        held = self.records.holdings("main").positions
        assert account.positions == {i: p.quantity for i, p in held.items() if p.quantity}
        causes = {r.cause for r in state.restrictions} - {Cause.OPERATOR, Cause.LOSSES}
        # A venue that tells an old account as today's is believed: a person has to acknowledge it.
        assert causes <= ({Cause.RECONCILIATION} if self.was_stale else set()), state.restrictions
        for order in self.orders():
            there = at_venue.get(order.client_order_id)
            assert order.filled == (there.filled if there else ZERO)
            if there is None:
                assert order.status in (OrderStatus.EXPIRED, OrderStatus.REJECTED)

    def orders(self) -> Sequence[Order]:
        return self.records.orders("main", ALL)


@pytest.fixture(autouse=True)
def _journals_may_die(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.trading.PaperJournal", MortalJournal)


def test_lives_of_a_trader(home: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Traders,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=6,
            derandomize=EXAMPLES <= 20,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )
