"""The paper venue: fills at the next bar's open, with costs, from a book of its own.

It shares nothing with the trader's records, so reconciling with it means what it does elsewhere.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from types import TracebackType
from typing import Any, Self

from autotrader.adapters.paper_journal import PaperJournal
from autotrader.command import to_plain
from autotrader.config.settings import PaperSettings
from autotrader.domain.errors import NotFound, Rejected
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import ZERO, Fill, Order, OrderStatus, OrderType, Side, to_step
from autotrader.domain.positions import Holdings
from autotrader.ports.broker import Update, VenueAccount, VenueOrder
from autotrader.ports.clock import WallClock
from autotrader.trading.bars import Bar, Batch, exact

_CENT_OF_CENTS = Decimal("0.00000001")
_BPS = Decimal("0.0001")


class PaperBroker:
    """One account, moved by `take`. Used as an async context manager.

    Parameters
    ----------
    account : str
    venue : Venue
        Whose instruments are traded.
    currency : str
        That the account begins with.
    rules : Mapping of InstrumentId to InstrumentRules
        Of instruments that the journal does not know yet: those that it knows keep theirs.
    settings : PaperSettings
    journal : PaperJournal
    clock : WallClock
        What is in the account is told as of now: everything that was filled is in it.
    holdings : Holdings or None
        With which the account begins; None: the settings' cash.
    """

    def __init__(
        self,
        account: str,
        venue: Venue,
        *,
        currency: str,
        rules: Mapping[InstrumentId, InstrumentRules],
        settings: PaperSettings,
        journal: PaperJournal,
        clock: WallClock,
        holdings: Holdings | None = None,
    ) -> None:
        self.venue = venue
        self._account = account
        self._rules: dict[InstrumentId, InstrumentRules] = {}
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._spread = (exact(settings.half_spread_bps) + exact(settings.slippage_bps)) * _BPS
        self._fee = exact(settings.fee_bps) * _BPS
        self._participation = exact(settings.participation)
        self._holdings = holdings or Holdings(account, {currency: settings.initial_cash})
        self._orders: dict[str, VenueOrder] = {}
        self._limits: dict[str, Decimal | None] = {}
        self._working: dict[str, None] = {}
        self._fills: list[Fill] = []
        self._taken_until: datetime | None = None
        self._updates: asyncio.Queue[Update] = asyncio.Queue()
        self.is_listened_to = False
        for entries in journal.read():
            for entry in entries:
                self._apply(entry)
        if new := {i: rule for i, rule in rules.items() if i not in self._rules}:
            self._write([{"rules": {str(i): to_plain(rule) for i, rule in new.items()}}])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._journal.close()

    @property
    def gaps(self) -> int:
        return 0

    # ------------------------------------------------------------------------------ the market

    async def take(self, batch: Batch) -> None:
        """Fill what can be filled at the opens of these bars; returns when the updates were heard."""
        if self._working and (self._taken_until is None or batch.ts > self._taken_until):
            bars = {bar.instrument: bar for bar in batch.bars}
            entries: list[dict[str, Any]] = [{"bar": batch.ts.isoformat()}]
            for client_id in tuple(self._working):
                order = self._orders[client_id]
                if (bar := bars.get(order.instrument)) is not None:
                    fill = self._fill(order, self._limits[client_id], bar, batch.ts)
                    if fill is not None:
                        entries.append(_plain_fill(fill))
            self._write(entries)
        if self.is_listened_to:
            await self._updates.join()

    def _fill(self, order: VenueOrder, limit: Decimal | None, bar: Bar, ts: datetime) -> Fill | None:
        rules = self._rules[order.instrument]
        step = rules.tick
        worse = exact(bar.open) * (1 + order.side.sign * self._spread)
        rounding = ROUND_CEILING if order.side is Side.BUY else ROUND_FLOOR
        price = (worse / step).to_integral_value(rounding) * step
        if limit is not None and (price - limit) * order.side.sign > 0:
            return None
        quantity = order.quantity - order.filled
        if not math.isnan(bar.volume):
            quantity = min(quantity, to_step(exact(bar.volume) * self._participation, rules.lot))
        if quantity <= 0:
            return None
        return Fill(
            account=self._account,
            # An order is filled once a bar at most.
            fill_id=f"{order.client_order_id}-{round(ts.timestamp())}",
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            instrument=order.instrument,
            side=order.side,
            quantity=quantity,
            price=price,
            fee=(quantity * price * self._fee).quantize(_CENT_OF_CENTS, ROUND_HALF_EVEN),
            fee_currency=rules.currency,
            at=ts,
        )

    # ------------------------------------------------------------------------------ the broker

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        if unknown := [str(i) for i in instruments if i not in self._rules]:
            raise NotFound(f"expected instruments of the paper venue, were {', '.join(unknown)}")
        return {instrument: self._rules[instrument] for instrument in instruments}

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        quantities = {i: self._holdings.position(i).quantity for i in instruments}
        return VenueAccount(
            cash=dict(self._holdings.cash),
            positions={i: quantity for i, quantity in quantities.items() if quantity},
            at=self._clock.now(),
        )

    async def open_orders(self) -> Sequence[VenueOrder]:
        return [self._orders[client_id] for client_id in self._working]

    async def order(self, order: Order) -> VenueOrder | None:
        return self._orders.get(order.client_order_id)

    async def fills(self, instruments: Sequence[InstrumentId], since: datetime) -> Sequence[Fill]:
        wanted = set(instruments)
        return [fill for fill in self._fills if fill.instrument in wanted and fill.at >= since]

    async def submit(self, order: Order) -> VenueOrder:
        known = self._orders.get(order.client_order_id)
        if known is not None:
            return known
        self._require_acceptable(order)
        entry = {
            "order": order.client_order_id,
            "instrument": str(order.instrument),
            "side": order.side.value,
            "quantity": str(order.quantity),
            "limit": None if order.type is OrderType.MARKET else str(order.limit_price),
        }
        self._write([entry])
        return self._orders[order.client_order_id]

    async def cancel(self, order: Order) -> VenueOrder | None:
        if order.client_order_id in self._working:
            self._write([{"cancelled": order.client_order_id}])
        return self._orders.get(order.client_order_id)

    async def updates(self) -> AsyncIterator[Update]:
        self.is_listened_to = True
        try:
            while True:
                yield await self._updates.get()
                self._updates.task_done()
        finally:
            self.is_listened_to = False

    async def keep_alive(self, seconds: float) -> bool:  # noqa: ARG002 - the port's
        """False: an order here works for as long as bars come, which end with the trader."""
        return False

    # --------------------------------------------------------------------------------- inside

    def _require_acceptable(self, order: Order) -> None:
        """As a venue would, whatever the trader has checked."""
        rules = self._rules.get(order.instrument)
        if rules is None:
            raise Rejected(f"expected an instrument of the paper venue, was {order.instrument}")
        if order.quantity <= 0 or order.quantity % rules.lot:
            raise Rejected(f"expected a multiple of {rules.lot} above zero, was {order.quantity}")
        price = order.limit_price or order.reference_price
        if not order.reduces and order.quantity * price < rules.minimum_notional:
            raise Rejected(f"expected a notional of {rules.minimum_notional} or more, was {order.notional}")
        if rules.shortable:
            return
        if order.side is Side.SELL:
            held = self._holdings.position(order.instrument).quantity
            held -= sum(
                (o.quantity - o.filled for o in self._open(order.instrument) if o.side is Side.SELL), ZERO
            )
            if order.quantity > held:
                raise Rejected(f"expected to sell at most {held} {order.instrument}, was {order.quantity}")
        elif (needed := order.quantity * price) > (cash := self._holdings.cash.get(rules.currency, ZERO)):
            raise Rejected(f"expected to pay at most {cash} {rules.currency}, was {needed}")

    def _open(self, instrument: InstrumentId) -> list[VenueOrder]:
        return [o for c in self._working if (o := self._orders[c]).instrument == instrument]

    def _write(self, entries: list[dict[str, Any]]) -> None:
        self._journal.append(entries)
        for entry in entries:
            for update in self._apply(entry):
                if self.is_listened_to:
                    self._updates.put_nowait(update)

    def _apply(self, entry: Mapping[str, Any]) -> Sequence[Update]:
        """Change the venue's state as one entry says, in this run or in one before."""
        if "bar" in entry:
            self._taken_until = datetime.fromisoformat(entry["bar"])
            return ()
        if "rules" in entry:
            self._rules |= {InstrumentId.parse(name): _read_rules(r) for name, r in entry["rules"].items()}
            return ()
        if "fill" in entry:
            return self._apply_fill(self._read_fill(entry))
        if "cancelled" in entry:
            client_id = entry["cancelled"]
            del self._working[client_id]
            word = replace(self._orders[client_id], status=OrderStatus.CANCELLED, reason="cancelled by us")
            self._orders[client_id] = word
            return (word,)
        word = VenueOrder(
            venue_order_id=f"paper-{len(self._orders) + 1}",
            client_order_id=entry["order"],
            instrument=InstrumentId.parse(entry["instrument"]),
            side=Side(entry["side"]),
            quantity=Decimal(entry["quantity"]),
            filled=ZERO,
            status=OrderStatus.OPEN,
        )
        self._orders[entry["order"]] = word
        self._limits[entry["order"]] = None if entry["limit"] is None else Decimal(entry["limit"])
        self._working[entry["order"]] = None
        return (word,)

    def _apply_fill(self, fill: Fill) -> Sequence[Update]:
        rules = self._rules[fill.instrument]
        self._holdings, _ = self._holdings.after(
            fill, currency=rules.currency, base_currency=rules.base_currency
        )
        self._fills.append(fill)
        client_id = str(fill.client_order_id)
        order = self._orders[client_id]
        filled = order.filled + fill.quantity
        status = OrderStatus.FILLED if filled >= order.quantity else OrderStatus.OPEN
        if status is OrderStatus.FILLED:
            del self._working[client_id]
        self._orders[client_id] = word = replace(order, filled=filled, status=status)
        return (fill, word)

    def _read_fill(self, entry: Mapping[str, Any]) -> Fill:
        order = self._orders[entry["order"]]
        return Fill(
            account=self._account,
            fill_id=entry["fill"],
            client_order_id=entry["order"],
            venue_order_id=order.venue_order_id,
            instrument=order.instrument,
            side=order.side,
            quantity=Decimal(entry["quantity"]),
            price=Decimal(entry["price"]),
            fee=Decimal(entry["fee"]),
            fee_currency=entry["fee_currency"],
            at=datetime.fromisoformat(entry["at"]),
        )


def _read_rules(plain: Mapping[str, Any]) -> InstrumentRules:
    steps = ("tick", "lot", "minimum_notional", "borrow_bps_per_day")
    return InstrumentRules(**{**plain, **{name: Decimal(plain[name]) for name in steps}})


def _plain_fill(fill: Fill) -> dict[str, Any]:
    return {
        "fill": fill.fill_id,
        "order": fill.client_order_id,
        "quantity": str(fill.quantity),
        "price": str(fill.price),
        "fee": str(fill.fee),
        "fee_currency": fill.fee_currency,
        "at": fill.at.isoformat(),
    }
