"""The trader's step: one account, one strategy, bar by bar; live and in replay the same.

Hear the venue, mark the account, look at the breaker, forecast, decide, write, hand over: what was
decided is on disk before the venue hears of it. The hash of all that was decided goes on from step to
step, so that the same bars give the same hash, and another one says that something else was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from autotrader import tracing
from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Order, OrderStatus
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.trading import EquityPoint, Signal, TradingRecords
from autotrader.trading.accounting import Accounting
from autotrader.trading.bars import Batch
from autotrader.trading.breaker import BreakerRules, end_expired, mark
from autotrader.trading.checkpoint import DECISION_HASH, TARGETS, Checkpoints
from autotrader.trading.deciding import AS_WANTED, Deciding, Decision
from autotrader.trading.desk import OrderDesk
from autotrader.trading.exposures import RiskView, stop_distance
from autotrader.trading.feed_watch import FeedWatch
from autotrader.trading.forecasting import Forecast, Forecasting
from autotrader.trading.order_times import OrderTimes
from autotrader.trading.outages import Outages
from autotrader.trading.targets import Targets
from autotrader.trading.telling import chained, signal_of
from autotrader.trading.unexplained import left_open, unexplained
from autotrader.trading.venue_news import VenueNews

log = structlog.get_logger(__name__)

_A_DAY = timedelta(days=1)
TOO_LATE = "the bar came too late to trade on"


@dataclass(frozen=True, slots=True)
class Mandate:
    """What is traded, and by which times.

    Attributes
    ----------
    strategy_id : str
    instruments : tuple of InstrumentId
    interval, holding : timedelta
    write_every : int
        Bars after which the account is written even if nothing happened in them. What lies between
        is derived again after a kill.
    """

    strategy_id: str
    instruments: tuple[InstrumentId, ...]
    interval: timedelta
    holding: timedelta
    write_every: int


class Trader:
    """Takes bars and the venue's updates, one at a time; an account that was made right before.

    Parameters
    ----------
    mandate : Mandate
    accounting : Accounting
    desk : OrderDesk
    deciding : Deciding
    forecasting : Forecasting
        Warmed up to the account's cursor.
    targets : Targets
    breaker : BreakerRules
    outages : Outages
    records : TradingRecords
    clock : WallClock
    market_clock : MarketClock or None
        What bars are too old by; None where time is what the bars say.
    checkpoints : Checkpoints
    actor : str
    """

    def __init__(
        self,
        mandate: Mandate,
        accounting: Accounting,
        desk: OrderDesk,
        deciding: Deciding,
        forecasting: Forecasting,
        targets: Targets,
        breaker: BreakerRules,
        outages: Outages,
        records: TradingRecords,
        clock: WallClock,
        *,
        market_clock: MarketClock | None,
        checkpoints: Checkpoints,
        actor: str,
    ) -> None:
        self.accounting = accounting
        self.book = accounting.book
        self.desk = desk
        self.targets = targets
        self.outages = outages
        self.mandate = mandate
        self.signals: dict[InstrumentId, Signal] = {}
        self._deciding = deciding
        self._forecasting = forecasting
        self._breaker = breaker
        self._records = records
        self._clock = clock
        self._market_clock = market_clock
        self._checkpoints = checkpoints
        self._actor = actor
        self.news = VenueNews(accounting, targets, breaker, outages, records, clock, actor=actor)
        self._feed = FeedWatch(accounting, outages, mandate.instruments, clock, actor=actor)
        self._order_times = OrderTimes(records, self.book.account)
        self._bars_unwritten = 0
        self._latencies: list[float] = []
        self._new_signals: list[Signal] = []
        self._hash = str(accounting.state.memory.get(DECISION_HASH, ""))

    @property
    def market_now(self) -> datetime | None:
        """Close of the newest bar; None before the first."""
        cursor = self.accounting.state.cursor
        return None if cursor is None else cursor + self.mandate.interval

    @property
    def time_at_market(self) -> datetime | None:
        """What orders are too old by: live it goes on while no bars come."""
        newest = self.market_now
        if self._market_clock is None or newest is None:
            return newest
        return max(newest, self._market_clock.now())

    def take_latencies(self) -> list[float]:
        """Seconds from a bar's arrival to the hand-over of each order since the last call."""
        taken, self._latencies = self._latencies, []
        return taken

    def take_signals(self) -> list[Signal]:
        """Signals since the last call."""
        taken, self._new_signals = self._new_signals, []
        return taken

    # --------------------------------------------------------------------------------- a step

    async def step(self, batch: Batch) -> None:
        """Take the bars that closed together.

        Raises
        ------
        Refused
            If the lease is lost: nothing more may be done by this process.
        BadData
            If the bars are older than what was dealt with.
        """
        with _undisturbed(), tracing.span("bar", account=self.book.account, ts=batch.ts.isoformat()):
            await self._take(batch)

    async def _take(self, batch: Batch) -> None:
        arrived = self._clock.monotonic()
        state = self.accounting.state
        if state.cursor is not None and batch.ts <= state.cursor:
            raise BadData(f"expected bars after {state.cursor}, was {batch.ts}")
        before = self.market_now
        self.news.take(before)
        for bar in batch.bars:
            self.book.mark(bar.instrument, bar.price, batch.closed_at)
        self._feed.take(batch, before)
        self.accounting.set(cursor=batch.ts)
        await self._settle_working(batch)
        self._tell_checkpoint(batch)
        self._mark(batch)
        forecasts = await self._forecasting.forecast(batch)
        self._note_predictions(forecasts)
        orders = self._decide(batch, forecasts)
        self._hash = chained(self._hash, batch, forecasts, self.targets.to_plain(), orders)
        if orders and self.accounting.state.fills_since is None:
            # Nothing of ours can have been filled before the first order.
            self.accounting.set(fills_since=batch.closed_at)
        for order in orders:
            self.book.add(order)
            self._order_times.add(order.decided_at)
        await self._write_and_send(orders, batch.closed_at, arrived)
        self._checkpoints.leave(self.accounting.state)

    async def _settle_working(self, batch: Batch) -> None:
        """Take back what has worked for a bar: what is still wanted is ordered anew, at today's price."""
        old = [order for order in self.book.working.values() if order.decided_at < batch.closed_at]
        await asyncio.gather(*(self.desk.cancel(order) for order in old))
        self.news.take(self.market_now)

    def _tell_checkpoint(self, batch: Batch) -> None:
        checkpoint = self._checkpoints.take(
            batch,
            self.accounting.state,
            self.book,
            self.targets,
            decision_hash=self._hash,
            now=self._clock.now(),
        )
        if checkpoint is not None:
            self.accounting.tell(checkpoint)

    def _mark(self, batch: Batch) -> None:
        now, before = self._clock.now(), self.accounting.state
        state, events = end_expired(before, market_time=batch.closed_at, now=now, actor=self._actor)
        self.accounting.adopt(state, events)
        equity = self.book.equity()
        state, events = mark(
            self.accounting.state,
            equity,
            market_time=batch.closed_at,
            rules=self._breaker,
            now=now,
            actor=self._actor,
        )
        self.accounting.adopt(state, events)
        self.accounting.add_equity(
            EquityPoint(
                account=state.account,
                at=batch.closed_at,
                equity=equity,
                cash=self.book.cash(),
                drawdown=float(1 - equity / state.peak_equity) if state.peak_equity > 0 else 1.0,
                daily_pnl=equity - state.day_start_equity,
            )
        )

    def _note_predictions(self, forecasts: Mapping[InstrumentId, Forecast]) -> None:
        away = {forecast.outage: forecast.reason for forecast in forecasts.values() if forecast.outage}
        answered = any(forecast.prediction for forecast in forecasts.values())
        for cause in (Cause.PREDICTIONS, Cause.REGISTRY):
            if cause in away:
                self.outages.note(cause, away[cause])
            elif answered or (cause is Cause.PREDICTIONS and away):  # who needs the registry was answered
                self.outages.mend(cause)

    # ------------------------------------------------------------------------------ decisions

    def _decide(self, batch: Batch, forecasts: Mapping[InstrumentId, Forecast]) -> list[Order]:
        state = self.accounting.state
        wall = self._clock.now()
        too_late = self._is_late(batch)
        tripped = [r for r in state.restrictions if r.cause.is_breaker]
        if tripped:
            self.targets.forget()
            view = self._view(batch, forecasts)
            decisions = self._deciding.flatten(view, now=batch.closed_at, wall=wall, why=tripped[0].reason)
            self.accounting.tell(
                *left_open(
                    view, self.book.rules, tripped[0], account=state.account, now=wall, actor=self._actor
                )
            )
            self._note_signals(batch, forecasts, {}, tripped[0].reason)
            return [] if too_late else [d.order for d in decisions if d.order is not None]
        rates = self.book.rates()
        orders: list[Order] = []
        made: dict[InstrumentId, Decision] = {}
        seen: RiskView | None = None
        for bar in batch.bars:
            rules = self.book.rules[bar.instrument]
            wanted = self.targets.update(
                bar.instrument,
                batch.ts,
                forecasts[bar.instrument],
                equity=state.equity,
                price=self.book.prices[bar.instrument],
                rate=rates[rules.currency],
                rules=rules,
            )
            if too_late:
                made[bar.instrument] = Decision(None, TOO_LATE)
                continue
            if self.book.working_on(bar.instrument):
                made[bar.instrument] = Decision(None, "an order still works or is in doubt")
                continue
            if not self._deciding.difference(bar.instrument, wanted.units):
                made[bar.instrument] = AS_WANTED
                continue
            # Made for the first one that needs it: at most bars nothing is to be traded.
            seen = seen or self._view(batch, forecasts)
            decision = self._deciding.towards(
                bar.instrument,
                wanted.units,
                seen,
                now=batch.closed_at,
                wall=wall,
                why=f"target {wanted.target:+.3f} of its share",
            )
            made[bar.instrument] = decision
            if decision.order is not None:
                seen = seen.with_order(decision.order)
                orders.append(decision.order)
            elif decision.is_refused:
                self._accept_refusal(bar.instrument, wanted.units)
        self._note_signals(batch, forecasts, made, "")
        return orders

    def _is_late(self, batch: Batch) -> bool:
        """Whether an order decided on these bars would be too old to be sent, as after an absence."""
        return self._market_clock is not None and self._deciding.is_too_old(
            batch.closed_at, self._market_clock.now()
        )

    def objection(self, order: Order) -> str:
        """Why an order that has not been sent may not be any more; empty where it may."""
        state = self.accounting.state
        if order.instrument in unexplained(state):
            return "the venue does not have the position that it was decided on"
        tripped = any(r.cause.is_breaker for r in state.restrictions)
        if state.state is TradingState.ACTIVE or (
            order.reduces and (tripped or state.state is TradingState.REDUCING)
        ):
            return ""
        why = "; ".join(r.reason for r in state.restrictions if r.state is state.state)
        return f"the account has become {state.state}: {why}"

    def _accept_refusal(self, instrument: InstrumentId, units: Decimal) -> None:
        """What may not be opened is not wanted any more; what may not be closed now still is."""
        held = self.book.quantity(instrument)
        if abs(units) > abs(held) or units * held < 0:
            self.targets.hold(instrument, held)

    def _view(self, batch: Batch, forecasts: Mapping[InstrumentId, Forecast]) -> RiskView:
        state = self.accounting.state
        stops = {}
        for instrument, forecast in forecasts.items():
            distance = stop_distance(forecast.volatility, self.mandate.holding, self.mandate.interval)
            if distance is not None:
                stops[instrument] = distance
        return RiskView.of(
            self.book.valued,
            self.book.working.values(),
            equity=state.equity,
            now=batch.closed_at,
            prices=self.book.fresh_prices(batch.closed_at),
            rates=self.book.rates(),
            rules=self.book.rules,
            stop_distances=stops,
            order_times=self._order_times.of_a_day(batch.closed_at),
            restrictions=state.restrictions,
            strategy=self.mandate.instruments,
            unexplained=unexplained(state),
        )

    def _note_signals(
        self,
        batch: Batch,
        forecasts: Mapping[InstrumentId, Forecast],
        made: Mapping[InstrumentId, Decision],
        otherwise: str,
    ) -> None:
        for bar in batch.bars:
            signal = signal_of(
                bar,
                batch.ts,
                forecasts[bar.instrument],
                made.get(bar.instrument) or Decision(None, otherwise),
                account=self.book.account,
                strategy_id=self.mandate.strategy_id,
                target=self.targets.of(bar.instrument).target,
            )
            self.signals[bar.instrument] = signal
            self._new_signals.append(signal)
            self.accounting.add_signal(signal)

    # ---------------------------------------------------------------------------- what stays

    @property
    def decision_hash(self) -> str:
        """Of all decisions since the account's first step."""
        return self._hash

    async def _write_and_send(self, orders: Sequence[Order], market_now: datetime, arrived: float) -> None:
        self._bars_unwritten += 1
        must = bool(orders) or self.accounting.must_be_written
        if (must or self._bars_unwritten >= self.mandate.write_every) and not self.write():
            for order in orders:
                gone = order.moved(OrderStatus.EXPIRED, reason="never sent: it could not be recorded")
                self.book.add(gone)
            return
        self._latencies += [self._clock.monotonic() - arrived] * len(orders)
        await self.desk.send_all(orders, market_now)
        self.news.take(self.market_now)
        self.accounting.bury(self.desk.dead_letters)
        if orders and self.mandate.write_every == 1:
            self.write()

    def keep_news(self) -> None:
        """Make durable what the venue said, where each bar is; a replay hears it again.

        A database that is away is not waited for at each word: the next bar or second tries again.

        Raises
        ------
        Refused
            If the lease is lost.
        """
        is_away = Cause.DATABASE in self.outages.ages()
        if self.mandate.write_every == 1 and self.accounting.must_be_written and not is_away:
            self.write()

    def write(self) -> bool:
        """Make the account durable; False while the database does not answer.

        Raises
        ------
        Refused
            If the lease is lost.
        """
        kept = self.accounting.state.memory
        self.accounting.set(memory={**kept, TARGETS: self.targets.to_plain(), DECISION_HASH: self._hash})
        try:
            self.accounting.write()
        except Unreachable as error:
            self.outages.note(Cause.DATABASE, str(error))
            return False
        self._bars_unwritten = 0
        self.outages.answers(Cause.DATABASE)
        return True


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the garbage collector, which would hold orders up for 2 ms; it comes right after."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
