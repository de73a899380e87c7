"""Fills out of executions and the commission reports that follow them.

A fill waits for its commission, which comes a moment later in a message of its own, for at most
`COMMISSION_SECONDS`: it is part of what the trade cost. A fill whose commission is later than that
is told with a fee of zero; the fee then follows as a fill of no units, `<fill id>/fee`, so that the
position is right in time and no money is lost.

A fill's id is its execution's without the last part, which numbers corrections: a corrected trade
is the same fill, and never counts twice. What a correction changed is not told by the updates, but
counts as a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import structlog

from autotrader.connectors.ibkr_connector.order_messages import Execution
from autotrader.domain.orders import ZERO, Fill

log = structlog.get_logger(__name__)

COMMISSION_SECONDS = 3.0


class Executions:
    """Joins the two kinds of messages.

    Parameters
    ----------
    account : str
        Our name of the account.
    tell : callable
        Takes each fill that is complete.
    corrected : callable
        Called when the venue corrects a trade that was told.
    commission_seconds : float
    """

    def __init__(
        self,
        account: str,
        tell: Callable[[Fill], None],
        corrected: Callable[[], None],
        *,
        commission_seconds: float = COMMISSION_SECONDS,
    ) -> None:
        self._account = account
        self._tell = tell
        self._corrected = corrected
        self._commission_seconds = commission_seconds
        self._known: dict[str, Execution] = {}
        self._fees: dict[str, tuple[Decimal, str]] = {}
        self._told: dict[str, str] = {}
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._without_fee: set[str] = set()
        self._came = asyncio.Event()

    def executed(self, execution: Execution) -> None:
        """A trade has just happened."""
        self._known[execution.exec_id] = execution
        told = self._told.get(execution.trade)
        if told is not None and told != execution.exec_id:
            log.warning("trade corrected", venue="ibkr", trade=execution.trade, order=execution.ref)
            self._corrected()
        elif execution.exec_id in self._fees:
            self._complete(execution)
        elif told is None and execution.exec_id not in self._waiting:
            loop = asyncio.get_running_loop()
            self._waiting[execution.exec_id] = loop.call_later(
                self._commission_seconds, self._give_up, execution
            )

    def recalled(self, execution: Execution) -> None:
        """A trade of the past was told because we asked: it is no news."""
        self._known[execution.exec_id] = execution

    def paid(self, exec_id: str, fee: Decimal, currency: str) -> None:
        """The commission of an execution, before or after it."""
        self._fees[exec_id] = (fee, currency)
        execution = self._known.get(exec_id)
        if execution is not None and exec_id in self._waiting:
            self._complete(execution)
        elif execution is not None and exec_id in self._without_fee:
            self._without_fee.discard(exec_id)
            if fee:
                whole = self._fill(execution)
                self._tell(replace(whole, fill_id=f"{whole.fill_id}/fee", quantity=ZERO))
        self._came.set()

    def quantity(self, ref: str) -> Decimal:
        """What was traded of an order of ours, as far as executions were told."""
        newest = {e.trade: e for e in sorted(self._known.values(), key=lambda e: e.exec_id)}
        return sum((e.quantity for e in newest.values() if e.ref == ref), ZERO)

    async def fills(self, executions: Iterable[Execution]) -> list[Fill]:
        """The fills of these executions, oldest first, once their commissions are there or overdue.

        Of a trade and its corrections the newest counts.
        """
        newest = {e.trade: e for e in sorted(executions, key=lambda e: e.exec_id)}.values()
        wanted = {execution.exec_id for execution in newest}
        try:
            async with asyncio.timeout(self._commission_seconds):
                while not wanted <= self._fees.keys():
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            late = wanted - self._fees.keys()
            log.warning("commissions are late", venue="ibkr", executions=sorted(late))
            self._without_fee |= late
        return sorted((self._fill(e) for e in newest), key=lambda fill: (fill.at, fill.fill_id))

    def forget(self, before: datetime) -> None:
        """Drop what is older: nobody will tell of it any more."""
        for exec_id in [e.exec_id for e in self._known.values() if e.at < before]:
            trade = self._known.pop(exec_id).trade
            self._fees.pop(exec_id, None)
            self._told.pop(trade, None)
            self._without_fee.discard(exec_id)

    def close(self) -> None:
        """Wait for no commission any more."""
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()

    def _give_up(self, execution: Execution) -> None:
        log.warning("commission is late", venue="ibkr", execution=execution.exec_id, order=execution.ref)
        self._without_fee.add(execution.exec_id)
        self._complete(execution)

    def _complete(self, execution: Execution) -> None:
        if timer := self._waiting.pop(execution.exec_id, None):
            timer.cancel()
        self._told[execution.trade] = execution.exec_id
        self._tell(self._fill(execution))

    def _fill(self, execution: Execution) -> Fill:
        fee, currency = self._fees.get(execution.exec_id, (ZERO, execution.currency))
        return Fill(
            account=self._account,
            fill_id=execution.trade,
            client_order_id=execution.ref,
            venue_order_id=str(execution.perm_id),
            instrument=execution.instrument,
            side=execution.side,
            quantity=execution.quantity,
            price=execution.price,
            fee=fee,
            fee_currency=currency,
            at=execution.at,
        )
