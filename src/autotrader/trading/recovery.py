"""Agreeing with the venue: after a start, a crash, a gap in its updates, and again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import uuid4

import structlog

from autotrader.domain.errors import BadData, DependencyError, Refused
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import ZERO, Fill, Order, OrderStatus, Side
from autotrader.domain.thresholds import RECONCILIATION
from autotrader.domain.trading import Cause, DiscrepancyKind, RecoveryKind, TradingState
from autotrader.ports.broker import Broker, VenueAccount
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Control, Discrepancy, Recovery, Restriction
from autotrader.trading.broker_calls import BrokerCalls
from autotrader.trading.disagreement import settle
from autotrader.trading.opening import amounts, begun_at
from autotrader.trading.outages import Outages
from autotrader.trading.reconciliation import Comparison, Ours, Theirs, Yardstick, compare
from autotrader.trading.trader import Trader
from autotrader.trading.unexplained import remember
from autotrader.trading.untold_cash import take_untold

log = structlog.get_logger(__name__)

# Fills are asked for from so long before the newest one: venues do not report in order.
OVERLAP = timedelta(hours=1)


def fills_from(state: AccountState, working: Iterable[Order]) -> datetime:
    """From when on the venue is asked for fills: before what is known, and before any order that works."""
    newest = state.fills_since or state.started_at
    return min((newest, *(order.decided_at for order in working))) - OVERLAP


class Reconciliation:
    """Brings in what the venue knows and we do not, and compares the rest.

    Parameters
    ----------
    trader : Trader
    broker : Broker
    calls : BrokerCalls
    outages : Outages
    clock : WallClock
    major : Decimal
        Base currency; a larger difference halts.
    actor : str
    """

    def __init__(
        self,
        trader: Trader,
        broker: Broker,
        calls: BrokerCalls,
        outages: Outages,
        clock: WallClock,
        *,
        major: Decimal,
        actor: str,
    ) -> None:
        self._trader = trader
        self._broker = broker
        self._calls = calls
        self._outages = outages
        self._clock = clock
        self._major = major
        self._actor = actor
        self._unsure = 0
        self._brought_in = 0  # fills, by looks that could not be concluded
        self._told: set[str] = set()

    async def run(self, kind: RecoveryKind, reason: str) -> Recovery | None:
        """Reconcile once; the account is restricted or freed as the result demands.

        A continuous one that finds nothing leaves no record. Nor does one that cannot be concluded yet,
        such as one in whose middle an order was filled: what it brought in is told by the next one that can.

        Returns
        -------
        Recovery or None
            None where it was continuous and found nothing or could not be concluded, or the venue did
            not answer; then the account is REDUCING if it could not be done at a start.
        """
        began = self._clock.monotonic()
        try:
            adopted = await self._bring_in()
            comparison, account, more = await self._compare()
            adopted += more
        except DependencyError as error:
            self._outages.note(Cause.BROKER, str(error))
            if kind is not RecoveryKind.CONTINUOUS:
                self._restrict_unknown(f"the venue could not be asked: {error}")
            return None
        if not comparison.unsure:
            for cause in (Cause.BROKER, *self._outages.answering):
                self._outages.mend(cause)
        self._unsure = 0 if not comparison.unsure else self._unsure + 1
        attempt = self._unsure if kind is RecoveryKind.CONTINUOUS else RECONCILIATION.attempts
        accounting = self._trader.accounting
        accounting.adopt(remember(accounting.state, comparison))
        found, told = comparison.discrepancies, self._take_untold(comparison, account)
        if told:
            comparison = Comparison()
        state, events = settle(
            accounting.state, comparison, attempt=attempt, now=self._clock.now(), actor=self._actor
        )
        # What lasts is told once, however often it is looked at.
        events = tuple(event for event in events if event.key not in self._told)
        self._told = set() if comparison.agrees else self._told | {event.key for event in events}
        accounting.adopt(state, events)
        adopted += self._brought_in
        if kind is RecoveryKind.CONTINUOUS and not events and not told:
            is_open = bool(comparison.unsure) and not found
            self._brought_in = adopted if is_open else 0
            if is_open or not adopted:
                return None
        self._brought_in = 0
        recovery = Recovery(
            id=uuid4().hex,
            account=state.account,
            kind=kind,
            at=self._clock.now(),
            seconds=self._clock.monotonic() - began,
            adopted_fills=adopted,
            discrepancies=found,
            resolved=comparison.agrees,
            reason=reason,
        )
        accounting.add_recovery(recovery)
        accounting.tell(event_of(recovery, self._actor))
        return recovery

    async def _bring_in(self) -> int:
        """Take in unknown fills, and settle what is in doubt; returns how many fills were new."""
        trader, book = self._trader, self._trader.book
        await trader.desk.ask()
        state = trader.accounting.state
        since = fills_from(state, book.working.values())
        instruments = tuple(book.rules)
        fills = await self._calls("fills", lambda: self._broker.fills(instruments, since))
        trader.news.take(trader.market_now)
        before = len(book.moved.fills)
        begun = begun_at(state)
        for fill in fills:
            # Of our orders none was filled before; in a replay the venue's clock is the bars' time.
            if begun is None or fill.at > begun or trader.news.recall(fill.client_order_id):
                trader.news.hear(fill)
        trader.news.take(trader.market_now)
        return len(book.moved.fills) - before

    def _take_untold(self, comparison: Comparison, account: VenueAccount) -> bool:
        """Whether all that differs is cash that moved without a message, and is in the books now."""
        accounting, book = self._trader.accounting, self._trader.book
        taken = take_untold(
            comparison,
            book.holdings,
            accounting.state,
            venue=self._broker.venue,
            at=account.at,
            most=self._major,
            now=self._clock.now(),
            actor=self._actor,
        )
        if taken is None:
            return False
        book.holdings, state, events = taken
        accounting.adopt(state, events)
        return True

    async def _compare(self) -> tuple[Comparison, VenueAccount, int]:
        """What the venue says beside what we know, and how many fills were new meanwhile."""
        trader, book = self._trader, self._trader.book
        instruments = tuple(sorted(book.rules))
        account = await self._calls("the account", lambda: self._broker.account(instruments))
        listed = await self._calls("open orders", lambda: self._broker.open_orders())
        names = {order.client_order_id for order in listed}
        for order in tuple(book.working.values()):
            if order.status is OrderStatus.OPEN and order.client_order_id not in names:
                word = await self._calls("an order", partial(self._broker.order, order))
                if word is not None:
                    book.take_word(word)
        adopted = await self._bring_in()
        yardstick = Yardstick(dict(book.rules), dict(book.prices), book.rates(), self._major)
        ours = Ours(
            book.valued,
            dict(book.working),
            finished=frozenset(book.finished),
            newest_fill=trader.accounting.state.fills_since,
        )
        return compare(ours, Theirs(self._broker.venue, account, listed), yardstick), account, adopted

    def _restrict_unknown(self, reason: str) -> None:
        self._trader.accounting.restrict(
            Restriction(Cause.RECONCILIATION, TradingState.REDUCING, reason, self._clock.now(), self._actor)
        )

    # -------------------------------------------------------------------------- by a person

    async def adopt(self, control: Control) -> str:
        """Take over the venue's positions and cash as ours, as a person who knows why asked.

        What comes or goes is neither profit nor loss: the bases of the limits move with it. Currencies
        that none of our instruments tells the worth of are left out, and named.

        Raises
        ------
        Refused
            If the venue cannot be asked, something is not certain or has no price, or an order works that
            is none of ours: nothing was changed.
        """
        trader, book = self._trader, self._trader.book
        try:
            comparison, account, _ = await self._compare()
        except DependencyError as error:
            raise Refused(f"expected the venue to say what is in the account, was {error}") from error
        if comparison.unsure:
            raise Refused(f"expected a certain comparison, was unsure: {'; '.join(comparison.unsure)}")
        if not comparison.discrepancies:
            return "nothing to adopt: the venue and we agree"
        differences = comparison.discrepancies
        if orders := [d.detail for d in differences if d.kind is DiscrepancyKind.ORPHANED_ORDER]:
            raise Refused(
                f"expected none but our orders to work, was {'; '.join(orders)}: cancel at the venue first"
            )
        try:
            fills = [self._adopting(i, units, control) for i, units in comparison.unexplained.items()]
            change = book.equity_with(account, fills) - book.equity()
        except BadData as error:
            raise Refused(f"{error}; nothing was adopted") from error
        for fill in fills:
            trader.news.hear(fill)
        trader.news.take(trader.market_now)
        for instrument in comparison.unexplained:
            trader.targets.hold(instrument, book.quantity(instrument))
        left_out = amounts(book.set_cash(account))
        state = trader.accounting.state
        trader.accounting.adopt(
            replace(
                remember(state, Comparison()),
                initial_equity=state.initial_equity + change,
                peak_equity=state.peak_equity + change,
                day_start_equity=state.day_start_equity + change,
                equity=state.equity + change,
            ),
            (_adopted(control, differences, change, left_out, self._clock.now()),),
        )
        why = f"adopted by {control.actor}: {control.reason}"
        trader.accounting.lift(Cause.RECONCILIATION, why, actor=control.actor)
        await self.run(RecoveryKind.MANUAL, why)
        without = f"; left out, since no instrument here tells its worth: {left_out}" if left_out else ""
        return f"adopted {len(differences)} differences worth {change:+,.2f}{without}"

    def _adopting(self, instrument: InstrumentId, units: Decimal, control: Control) -> Fill:
        """What brings the position to the venue's; raises BadData where there is no price for it."""
        book = self._trader.book
        price = book.prices.get(instrument)
        if price is None:
            raise BadData(f"expected a price of {instrument} to adopt it at, was none")
        return Fill(
            account=book.account,
            fill_id=f"adopted-{control.id}",
            client_order_id=None,
            venue_order_id=None,
            instrument=instrument,
            side=Side.of(units),
            quantity=abs(units),
            price=price,
            fee=ZERO,
            fee_currency=book.rules[instrument].currency,
            at=self._trader.accounting.state.fills_since or self._clock.now(),
        )


def event_of(recovery: Recovery, actor: str) -> Event:
    """How the business log has it; alerts begin and end by it."""
    agreed = "agrees with the venue" if recovery.resolved else "does not agree with the venue"
    severity = "info" if recovery.resolved else "critical"
    if recovery.resolved and recovery.kind is RecoveryKind.CRASH:
        severity = "warning"
    return Event(
        key=f"recovery-{recovery.id}",
        type=EventType.RECOVERY,
        severity=severity,
        message=(
            f"{recovery.kind.value} of account {recovery.account}: {agreed}; {recovery.adopted_fills} "
            f"unknown fills, {len(recovery.discrepancies)} discrepancies ({recovery.reason})"
        ),
        actor=actor,
        at=recovery.at,
        data={
            "recovery": recovery.id,
            "seconds": round(recovery.seconds, 3),
            "account": recovery.account,
            "agrees": recovery.resolved,
        },
    )


def _adopted(
    control: Control, found: tuple[Discrepancy, ...], change: Decimal, left_out: str, at: datetime
) -> Event:
    return Event(
        key=f"adopt-{control.id}",
        type=EventType.AUDIT,
        severity="warning",
        message=f"Account {control.account}: the venue's state adopted by {control.actor}: {control.reason}",
        actor=control.actor,
        at=at,
        data={"change": str(change), "discrepancies": [d.detail for d in found], "left_out": left_out},
    )
