"""A trader's life: the lease, recovery, bars and the venue's updates, people's requests, the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog

from autotrader.domain.errors import AutotraderError, Refused, Unreachable
from autotrader.domain.trading import Cause, ControlKind, RecoveryKind, RunStatus, TradingState
from autotrader.ports.broker import Broker
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import Control, Recovery, Restriction, TradingRecords
from autotrader.trading.bars import Batch, Feed
from autotrader.trading.breaker import resume
from autotrader.trading.broker_calls import BrokerCalls
from autotrader.trading.degradation import apply_outages
from autotrader.trading.disagreement import acknowledge
from autotrader.trading.lease_keeping import LeaseKeeper
from autotrader.trading.outages import Outages
from autotrader.trading.recovery import Reconciliation
from autotrader.trading.trader import Trader

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
# Contract: the end takes 10 s at most, of which a step that goes on may need the rest.
_END_SECONDS = 2.5


@dataclass(frozen=True, slots=True)
class Pace:
    """How often what is done beside bars is done; seconds of the wall clock.

    Attributes
    ----------
    heartbeat, reconcile : float
    dead_man : float
        For which the venue is told to wait for us.
    bars : float or None
        In which the feed has a bar while the market is open; None where it has its own pace.
    """

    heartbeat: float
    reconcile: float
    dead_man: float
    bars: float | None


class TradingSession:
    """Runs a trader until its feed ends or it is told to stop.

    Parameters
    ----------
    trader, reconciliation, keeper, broker, calls, outages, records, clock
        As made for the account; the lease is held.
    pace : Pace
    actor : str
    is_open : Callable
        Whether any of the markets is open now.
    tell : Callable
        Called with each recovery that somebody should hear of.
    watch : Callable
        Called after every step and tick, for whoever shows what goes on.
    """

    def __init__(
        self,
        trader: Trader,
        reconciliation: Reconciliation,
        keeper: LeaseKeeper,
        broker: Broker,
        calls: BrokerCalls,
        outages: Outages,
        records: TradingRecords,
        clock: WallClock,
        *,
        pace: Pace,
        actor: str,
        is_open: Callable[[], bool] = lambda: True,
        tell: Callable[[Recovery], None] = lambda _: None,
        watch: Callable[[Trader], None] = lambda _: None,
    ) -> None:
        self._trader = trader
        self._reconciliation = reconciliation
        self._keeper = keeper
        self._broker = broker
        self._calls = calls
        self._outages = outages
        self._records = records
        self._clock = clock
        self._pace = pace
        self._actor = actor
        self._is_open = is_open
        self._tell = tell
        self._watch = watch
        self._stopping = asyncio.Event()
        self._ticked = 0.0
        self._reconciled = 0.0
        self._armed = 0.0
        self._beaten = 0.0
        self._last_bar = 0.0
        self._gaps = 0
        self._heard = asyncio.Event()  # something of the venue

    def stop(self) -> None:
        """Ask for the end: no new orders, everything written, the lease given back."""
        self._trader.desk.close()
        self._stopping.set()

    async def run(self, feed: Feed, kind: RecoveryKind, reason: str) -> None:
        """Recover, then take bars until the feed ends or `stop` is called.

        Raises
        ------
        Refused
            If the lease is lost: everything that was recorded stays as it is, for the next owner.
        """
        pump = asyncio.create_task(self._pump())
        try:
            self._tell_of(await self._reconcile(kind, reason))
            self._trader.write()
            self._last_bar = self._reconciled = self._clock.monotonic()
            await self.tick()
            await self._take_batches(feed, pump)
            await self._end()
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    async def _take_batches(self, feed: Feed, pump: asyncio.Task[None]) -> None:
        batches = feed.batches()
        stopping = asyncio.create_task(self._stopping.wait())
        hearing = asyncio.create_task(self._heard.wait())
        coming: asyncio.Task[Batch] | None = None
        try:
            while not self._stopping.is_set():
                coming = coming or asyncio.ensure_future(_next(batches))
                await asyncio.sleep(0)
                if not coming.done():  # recorded bars are there at once: nothing need be waited for
                    await asyncio.wait(
                        {coming, stopping, hearing, pump},
                        timeout=TICK_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                if pump.done():
                    pump.result()  # who does not hear the venue must not trade
                    raise Unreachable("expected updates of the broker without end, have ended")
                if hearing.done():
                    # Now rather than with the next bar, whose orders would wait for it.
                    self._heard.clear()
                    self._trader.news.take(self._trader.market_now)
                    if not coming.done():
                        self._trader.keep_news()
                    hearing = asyncio.create_task(self._heard.wait())
                if coming.done():
                    try:
                        batch = coming.result()
                    except StopAsyncIteration:
                        return
                    coming = None
                    await self._trader.step(batch)
                    self._last_bar = self._clock.monotonic()
                    self._watch(self._trader)
                if self._clock.monotonic() - self._ticked >= TICK_SECONDS:
                    await self.tick()
        finally:
            for task in (coming, stopping, hearing):
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                        await task

    async def tick(self) -> None:
        """What is due by the wall clock: lease, doubt, requests, degradation, reconciliation.

        Once the end has been asked for, no more is asked of a venue that may not answer in time.

        Raises
        ------
        Refused
            If the lease is lost.
        """
        self._ticked = self._clock.monotonic()
        self._keep_lease()
        trader = self._trader
        trader.news.take(trader.market_now)
        await self._answer_requests()
        self._look_at_strategy()
        if trader.market_now is not None and trader.desk.doubtful:
            await trader.desk.resolve(trader.time_at_market or trader.market_now, trader.objection)
            trader.news.take(trader.market_now)
            trader.accounting.bury(trader.desk.dead_letters)
        if self._stopping.is_set():
            return
        await self._arm()
        await self._reconcile_if_due()
        self._look_at_feed()
        self._look_at_broker()
        state, events = apply_outages(
            trader.accounting.state, self._outages.ages(), now=self._clock.now(), actor=self._actor
        )
        trader.accounting.adopt(state, events)
        due = self._clock.monotonic() - self._beaten >= self._pace.heartbeat
        if (due or trader.accounting.must_be_written) and trader.write():
            self._beaten = self._clock.monotonic()
        self._watch(trader)

    def _keep_lease(self) -> None:
        try:
            self._keeper.renew()
        except Unreachable as error:
            self._outages.note(Cause.DATABASE, str(error))
            if not self._keeper.is_held:
                raise Refused(f"expected to renew the lease, was not able to: {error}") from error

    async def _reconcile_if_due(self) -> None:
        gaps = self._broker.gaps
        since = self._clock.monotonic() - self._reconciled
        is_back = any(at >= self._reconciled for at in self._outages.answering.values())
        if gaps != self._gaps or since >= self._pace.reconcile or is_back:
            self._gaps = gaps
            self._reconciled = self._clock.monotonic()
            self._tell_of(await self._reconcile(RecoveryKind.CONTINUOUS, "continuous"))

    async def _reconcile(self, kind: RecoveryKind, reason: str) -> Recovery | None:
        """As `Reconciliation.run`; given up, and None, once the end has been asked for."""
        doing = asyncio.ensure_future(self._reconciliation.run(kind, reason))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            for task in (doing, stopping):
                task.cancel()
                await asyncio.wait({task})

    def _tell_of(self, recovery: Recovery | None) -> None:
        if recovery is not None and not (recovery.kind is RecoveryKind.STARTUP and recovery.resolved):
            self._tell(recovery)

    async def _arm(self) -> None:
        if self._clock.monotonic() - self._armed < self._pace.dead_man / 3:
            return
        self._armed = self._clock.monotonic()
        try:
            await self._calls("the dead man's switch", lambda: self._broker.keep_alive(self._pace.dead_man))
        except AutotraderError as error:
            log.warning("dead man's switch not armed", reason=str(error))

    def _look_at_feed(self) -> None:
        if self._pace.bars is None:
            return
        if not self._is_open():
            self._last_bar = self._clock.monotonic()
            self._outages.mend(Cause.FEED)
        silent = self._clock.monotonic() - self._last_bar
        if silent > 1.5 * self._pace.bars:
            self._outages.note(Cause.FEED, f"no bar for {silent:.0f} s", since=self._last_bar)

    def _look_at_broker(self) -> None:
        if self._calls.is_open:
            self._outages.note(Cause.BROKER, "it failed five times in a row")

    def _look_at_strategy(self) -> None:
        accounting = self._trader.accounting
        strategy = self._trader.mandate.strategy_id
        try:
            enabled = self._records.strategy_enabled(strategy)
        except Unreachable as error:
            self._outages.note(Cause.DATABASE, str(error))
            return
        if enabled:
            accounting.lift(Cause.STRATEGY, f"strategy {strategy} is enabled")
        else:
            reason = f"strategy {strategy} is disabled: it opens nothing"
            accounting.restrict(
                Restriction(Cause.STRATEGY, TradingState.REDUCING, reason, self._clock.now(), self._actor)
            )

    # -------------------------------------------------------------------------- requests

    async def _answer_requests(self) -> None:
        try:
            requests = self._records.unanswered(self._trader.book.account)
        except Unreachable as error:
            self._outages.note(Cause.DATABASE, str(error))
            return
        for control in requests:
            if self._stopping.is_set():
                return  # the next owner is asked
            try:
                answer = await self._do(control)
            except Refused as error:
                answer = f"refused: {error}"
            except AutotraderError as error:
                # Asked again at every start, it would end every one of them.
                answer = f"failed: {error}"
            self._trader.accounting.answer(control, answer)
            log.info("request answered", kind=control.kind.value, by=control.actor, answer=answer)

    async def _do(self, control: Control) -> str:
        accounting = self._trader.accounting
        now = self._clock.now()
        match control.kind:
            case ControlKind.HALT:
                reason = f"halted by {control.actor}: {control.reason}"
                accounting.restrict(
                    Restriction(Cause.OPERATOR, TradingState.HALTED, reason, now, control.actor)
                )
                await self._cancel_all()
            case ControlKind.RESUME:
                accounting.adopt(*resume(accounting.state, control, now=now))
            case ControlKind.ACKNOWLEDGE:
                accounting.adopt(*acknowledge(accounting.state, control, now=now))
            case ControlKind.ADOPT:
                return await self._reconciliation.adopt(control)
            case ControlKind.RECONCILE:
                found = await self._reconcile(RecoveryKind.MANUAL, f"asked for by {control.actor}")
                if found is None:
                    stops = self._stopping.is_set()
                    return f"refused: {'the trader stops' if stops else 'the venue did not answer'}"
                self._tell_of(found)
                count = len(found.discrepancies)
                return (
                    "agrees with the venue" if found.resolved else f"{count} discrepancies; see the recovery"
                )
        return f"account is {accounting.state.state.value.upper()}"

    # ------------------------------------------------------------------------------- the end

    async def _cancel_all(self) -> None:
        trader = self._trader
        await asyncio.gather(*(trader.desk.cancel(order) for order in tuple(trader.book.working.values())))

    async def _pump(self) -> None:
        async for update in self._broker.updates():
            self._trader.news.hear(update)
            self._heard.set()

    async def _end(self) -> None:
        """What works is taken back, what is known is written, the next owner need not wait."""
        trader = self._trader
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._cancel_all()
        except TimeoutError:
            log.warning("orders left at the venue", orders=len(trader.book.working))
        trader.news.take(trader.market_now)
        trader.accounting.bury(trader.desk.dead_letters)
        trader.accounting.set(status=RunStatus.STOPPED)
        trader.accounting.tell(
            Event(
                key=f"stopped-{trader.book.account}-{self._clock.now().isoformat()}",
                type=EventType.RECOVERY,
                severity="info",
                message=f"Trader of account {trader.book.account} stopped",
                actor=self._actor,
                at=self._clock.now(),
            )
        )
        if trader.write():
            self._keeper.release()


async def _next(batches: AsyncIterator[Batch]) -> Batch:
    return await anext(batches)
