"""What we hold, beside what the venue says it holds for us."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue, balances
from autotrader.domain.orders import ZERO, Order, OrderStatus, Side
from autotrader.domain.positions import Holdings
from autotrader.domain.thresholds import RECONCILIATION
from autotrader.domain.trading import DiscrepancyKind
from autotrader.ports.broker import VenueAccount, VenueOrder
from autotrader.ports.trading import Discrepancy

_IN_FLIGHT = (OrderStatus.RECORDED, OrderStatus.SENT)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one look at the venue tells.

    Attributes
    ----------
    discrepancies : tuple of Discrepancy
        Certain ones.
    unsure : tuple of str
        What could not be concluded, and why: bring in fills, resolve orders, and ask again.
    unexplained : Mapping[InstrumentId, Decimal]
        Signed units that the venue has beyond our position, where that is certain.
    """

    discrepancies: tuple[Discrepancy, ...] = ()
    unsure: tuple[str, ...] = ()
    unexplained: Mapping[InstrumentId, Decimal] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        return not self.discrepancies and not self.unsure


@dataclass(frozen=True, slots=True)
class Ours:
    """What we believe.

    Attributes
    ----------
    holdings : Holdings
    working : Mapping of str to Order
        Orders that are not final, by client id.
    finished : collection of str
        Client ids of orders of ours that have ended lately.
    newest_fill : datetime or None
        Of the fills that are in the holdings, by the venue's clock.
    """

    holdings: Holdings
    working: Mapping[str, Order]
    finished: Collection[str] = ()
    newest_fill: datetime | None = None


@dataclass(frozen=True, slots=True)
class Theirs:
    """What the venue says.

    Ask for the account first, for open orders then, and for fills last, and take these into `Ours`
    before the comparison: what is traded meanwhile then makes it unsure, and never wrong.

    Attributes
    ----------
    venue : Venue
    account : VenueAccount
        Asked for all instruments that are traded or held.
    open_orders : iterable of VenueOrder
    """

    venue: Venue
    account: VenueAccount
    open_orders: Iterable[VenueOrder]


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What differences are measured with.

    Attributes
    ----------
    rules : Mapping
        Of the instruments that are traded: currency, and the lot below which all is dust.
    prices : Mapping
        Last prices, quote currency.
    rates : Mapping
        Base currency per unit of each currency.
    major : Decimal
        A difference of more than this is major; base currency.
    """

    rules: Mapping[InstrumentId, InstrumentRules]
    prices: Mapping[InstrumentId, Decimal]
    rates: Mapping[str, Decimal]
    major: Decimal

    def lot(self, instrument: InstrumentId) -> Decimal:
        rule = self.rules.get(instrument)
        return ZERO if rule is None else rule.lot

    def unit_value(self, instrument: InstrumentId) -> Decimal | None:
        """Base currency per unit; None where a price or a rate is missing."""
        rule, price = self.rules.get(instrument), self.prices.get(instrument)
        rate = None if rule is None else self.rates.get(rule.currency)
        return None if price is None or rate is None else price * rate

    def measured(
        self,
        kind: DiscrepancyKind,
        instrument: InstrumentId,
        ours: Decimal,
        theirs: Decimal,
        unit_value: Decimal | None,
        detail: str,
    ) -> Discrepancy | str:
        """The discrepancy, or, where it cannot be valued, why not: whether it is major is not known."""
        if unit_value is None:
            return f"{instrument}: {detail}; no price or rate tells what that is worth"
        value = abs(theirs - ours) * unit_value
        return Discrepancy(kind, instrument, ours, theirs, value, value > self.major, detail)


def compare(ours: Ours, theirs: Theirs, yardstick: Yardstick) -> Comparison:
    """Find out where we and the venue differ.

    Dust is no difference, nor is an order of ours that the venue has not seen yet. Cash is compared
    in the currencies that we hold or are paid in, and named as the venue's instrument of that
    symbol (`binance:USDT`); a currency that is also a position is compared as the latter alone.
    """
    # A listing that is put together from pages names an order twice; ids are an instrument's own.
    listed = {(o.instrument, o.venue_order_id): o for o in theirs.open_orders if not o.status.is_final}
    open_orders = list(listed.values())
    open_ended = _open_ended(ours, open_orders)
    findings = [*_unsettled(open_ended), *_orphans(ours, open_orders, yardstick)]
    unexplained: dict[InstrumentId, Decimal] = {}
    at, newest = theirs.account.at, ours.newest_fill
    if newest is not None and at < newest:
        findings.append(
            f"the venue's account is of {at.isoformat()}, before our fill of {newest.isoformat()}"
        )
    else:
        positions = list(_positions(ours, theirs.account, open_ended, yardstick))
        amounts = [*positions, *_cash(ours, theirs, open_ended, yardstick)]
        if newest is not None and at < newest + RECONCILIATION.settling:
            # Some venues book a fill later than they report it, and date what they send when they send it.
            amounts = [f"{f.detail}, soon after a fill" if isinstance(f, Discrepancy) else f for f in amounts]
        else:
            unexplained = {f.instrument: f.theirs - f.ours for f in positions if isinstance(f, Discrepancy)}
        findings += amounts
    return Comparison(
        discrepancies=tuple(f for f in findings if isinstance(f, Discrepancy)),
        unsure=tuple(f for f in findings if isinstance(f, str)),
        unexplained=unexplained,
    )


def _open_ended(ours: Ours, open_orders: Iterable[VenueOrder]) -> list[Order]:
    """Orders of ours of which more may have been traded than we know."""
    listed = {order.client_order_id: order.filled for order in open_orders}
    return [
        order
        for client_id, order in ours.working.items()
        if client_id not in listed or listed[client_id] > order.filled
    ]


def _unsettled(open_ended: Iterable[Order]) -> Iterator[str]:
    """Orders that are known to be at the venue, and of which it now says something else."""
    for order in open_ended:
        if order.status not in _IN_FLIGHT:
            yield (
                f"order {order.client_order_id} of {order.instrument} is open here, {_plain(order.filled)} "
                "of it filled; the venue does not list it, or with more filled: ask for it and its fills"
            )


def _orphans(
    ours: Ours, open_orders: Iterable[VenueOrder], yardstick: Yardstick
) -> Iterator[Discrepancy | str]:
    """Orders that work at the venue and not here; also the second one of a client id."""
    seen: set[str] = set()
    # The one whose venue id we know goes first: any other of its client id is one too many.
    known = {order.venue_order_id for order in ours.working.values()}
    for order in sorted(open_orders, key=lambda o: (o.venue_order_id not in known, o.venue_order_id)):
        client_id = order.client_order_id
        if client_id is not None and client_id in ours.working and client_id not in seen:
            seen.add(client_id)
            continue
        name = f"venue order {order.venue_order_id}, client id {client_id or 'none'}"
        if client_id is not None and client_id in ours.finished:
            yield f"{name} has ended here and is listed as open there: ask for it"
            continue
        detail = f"{name}, to {order.side} {_plain(order.quantity)}, works there and not here"
        left = order.quantity - order.filled
        unit_value = yardstick.unit_value(order.instrument)
        kind = DiscrepancyKind.ORPHANED_ORDER
        yield yardstick.measured(kind, order.instrument, ZERO, left, unit_value, detail)


def _positions(
    ours: Ours, account: VenueAccount, open_ended: list[Order], yardstick: Yardstick
) -> Iterator[Discrepancy | str]:
    for instrument in sorted({*ours.holdings.positions, *account.positions}):
        mine = ours.holdings.balance(instrument, yardstick.rules.get(instrument))
        its = account.positions.get(instrument, ZERO)
        lot = yardstick.lot(instrument)
        if mine == its or abs(its - mine) < lot:
            continue
        detail = f"position of {_plain(mine)} here and {_plain(its)} there"
        buying, selling = _may_have_traded(instrument, open_ended)
        if -selling - lot < its - mine < buying + lot and (buying or selling):
            yield f"{instrument}: {detail}, which orders in flight may explain"
            continue
        kind = _kind(mine, its, lot)
        yield yardstick.measured(kind, instrument, mine, its, yardstick.unit_value(instrument), detail)


def _cash(
    ours: Ours, theirs: Theirs, open_ended: list[Order], yardstick: Yardstick
) -> Iterator[Discrepancy | str]:
    paid_in = {rule.currency for rule in yardstick.rules.values()}
    for currency in sorted({*ours.holdings.cash, *paid_in} - balances(yardstick.rules).keys()):
        mine, its = ours.holdings.cash.get(currency, ZERO), theirs.account.cash.get(currency, ZERO)
        rate = yardstick.rates.get(currency)
        if mine == its or (rate is not None and abs(its - mine) * rate <= RECONCILIATION.cash_tolerance):
            continue
        detail = f"cash of {_plain(mine)} {currency} here and {_plain(its)} there"
        if open_ended:
            yield f"{detail}, which orders in flight may explain"
            continue
        name = InstrumentId(theirs.venue, currency)
        yield yardstick.measured(_kind(mine, its, ZERO), name, mine, its, rate, detail)


def _may_have_traded(instrument: InstrumentId, open_ended: Iterable[Order]) -> tuple[Decimal, Decimal]:
    """Units that orders may have bought and sold without our knowing."""
    buying = selling = ZERO
    for order in open_ended:
        if order.instrument == instrument:
            if order.side is Side.BUY:
                buying += order.remaining
            else:
                selling += order.remaining
    return buying, selling


def _kind(ours: Decimal, theirs: Decimal, lot: Decimal) -> DiscrepancyKind:
    if not ours or abs(ours) < lot:
        return DiscrepancyKind.EXTRA_AT_BROKER
    if not theirs or abs(theirs) < lot:
        return DiscrepancyKind.MISSING_AT_BROKER
    return DiscrepancyKind.QUANTITY_MISMATCH


def _plain(units: Decimal) -> str:
    """One text for one number: 1.50 is 1.5."""
    return f"{units.normalize():f}"
