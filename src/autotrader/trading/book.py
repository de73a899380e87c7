"""What the trader knows of its account, moved by fills and the venue's words alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from autotrader.domain.errors import BadData, ConfigurationError
from autotrader.domain.instruments import InstrumentId, InstrumentRules, balance_currency, balances
from autotrader.domain.orders import ZERO, Fill, Order, OrderStatus
from autotrader.domain.positions import ClosedTrade, Holdings
from autotrader.domain.thresholds import RISK
from autotrader.ports.broker import VenueAccount, VenueOrder

# What is kept in memory of the past: many times what a venue reports again.
_ORDERS_REMEMBERED = 2_000
_FILLS_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Money:
    """What currencies are worth.

    Attributes
    ----------
    base : str
    same : frozenset of str
        Currencies that count as the base currency, one for one.
    """

    base: str
    same: frozenset[str]

    def rates(
        self, rules: Mapping[InstrumentId, InstrumentRules], prices: Mapping[InstrumentId, Decimal]
    ) -> dict[str, Decimal]:
        """Base currency per unit of every currency that a price tells.

        An instrument that trades a currency against the base (USD_JPY, or EUR_USD for a base of
        USD) gives its rate, in as many steps as it takes (EUR_JPY and USD_JPY); what no price tells
        is absent, and using it is an error.
        """
        known = dict.fromkeys({self.base, *self.same}, Decimal(1))
        before = 0
        while before < len(known):
            before = len(known)
            for instrument, rule in rules.items():
                price = prices.get(instrument)
                if price is None or rule.base_currency is None:
                    continue
                if rule.currency in known and rule.base_currency not in known:
                    known[rule.base_currency] = price * known[rule.currency]
                elif rule.base_currency in known and rule.currency not in known:
                    known[rule.currency] = known[rule.base_currency] / price
        return known

    def currencies(self, rules: Mapping[InstrumentId, InstrumentRules]) -> set[str]:
        """Those whose worth prices of these instruments tell."""
        bases = {rule.base_currency for rule in rules.values() if rule.base_currency is not None}
        return {self.base, *self.same, *(rule.currency for rule in rules.values()), *bases}

    def require_rates(self, rules: Mapping[InstrumentId, InstrumentRules]) -> None:
        """Raise ConfigurationError where the prices of these instruments cannot tell what each is paid in."""
        known = self.rates(rules, dict.fromkeys(rules, Decimal(1)))
        if unknown := sorted({rule.currency for rule in rules.values()} - known.keys()):
            raise ConfigurationError(
                f"expected instruments that tell what {', '.join(unknown)} is worth in {self.base}, were "
                f"{', '.join(map(str, rules))}: trade one of {self.base} against it, too"
            )


@dataclass
class Moved:
    """What has changed since it was last written."""

    orders: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    instruments: set[InstrumentId] = field(default_factory=set)
    trades: list[ClosedTrade] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.orders or self.fills or self.trades)


class Book:
    """Holdings, working orders and last prices of one account.

    Parameters
    ----------
    holdings : Holdings
    working : iterable of Order
        All that are not final.
    known_fills : iterable of (InstrumentId, str)
        Fills that are in the holdings already, as far back as the venue may report them again.
    rules : Mapping
        Of every instrument that is traded.
    money : Money
    """

    def __init__(
        self,
        holdings: Holdings,
        working: Iterable[Order],
        known_fills: Iterable[tuple[InstrumentId, str]],
        rules: Mapping[InstrumentId, InstrumentRules],
        money: Money,
    ) -> None:
        self.holdings = holdings
        self.rules = dict(rules)
        self.money = money
        self.prices: dict[InstrumentId, Decimal] = {}
        self.priced_at: dict[InstrumentId, datetime] = {}
        self.working = {order.client_order_id: order for order in working}
        self.moved = Moved()
        self._known = dict.fromkeys(known_fills)
        self._finished: dict[str, Order] = {}
        self._closed: list[ClosedTrade] = []
        self._currencies = {instrument: rule.currency for instrument, rule in rules.items()}
        self._valued = money.currencies(self.rules)
        self._rates: dict[str, Decimal] | None = None

    @property
    def account(self) -> str:
        return self.holdings.account

    def working_on(self, instrument: InstrumentId) -> list[Order]:
        return [order for order in self.working.values() if order.instrument == instrument]

    def find(self, client_order_id: str | None) -> Order | None:
        """An order that works, or ended since this process began."""
        if client_order_id is None:
            return None
        return self.working.get(client_order_id) or self._finished.get(client_order_id)

    def add(self, order: Order) -> None:
        """Take in a new order, or a new state of one."""
        if order.status.is_final:
            self.working.pop(order.client_order_id, None)
            self.remember(order)
        else:
            self.working[order.client_order_id] = order
        self.moved.orders[order.client_order_id] = order

    def remember(self, order: Order) -> None:
        """Know an order that has ended; nothing changes by it."""
        self._finished[order.client_order_id] = order
        _keep_newest(self._finished, _ORDERS_REMEMBERED)

    def take_fill(self, fill: Fill) -> bool:
        """Apply a fill; False if it was known.

        Raises
        ------
        BadData
            If the instrument has no rules here, or the fee's currency no rate.
        """
        key = (fill.instrument, fill.fill_id)
        if key in self._known:
            return False
        rules = self.rules.get(fill.instrument)
        if rules is None:
            raise BadData(
                f"expected fills of {', '.join(map(str, self.rules))}, was one of {fill.instrument}"
            )
        gone = self.holdings.position(fill.instrument).quantity - self.quantity(fill.instrument)
        self.holdings, trade = self.holdings.after(
            fill,
            currency=rules.currency,
            base_currency=balance_currency(fill.instrument, rules),
            fee_rate=self._fee_rate(fill, rules),
            # What fees of other instruments have taken cannot be sold, either.
            dust=rules.lot + max(gone, ZERO),
        )
        self._known[key] = None
        _keep_newest(self._known, _FILLS_REMEMBERED)
        self.moved.fills.append(fill)
        self.moved.instruments.add(fill.instrument)
        if trade is not None:
            self.moved.trades.append(trade)
            self._closed.append(trade)
        order = self.find(fill.client_order_id)
        if order is not None:
            self.add(order.with_fill(fill))
        return True

    def take_word(self, word: VenueOrder) -> None:
        """Believe what the venue says of one of our orders, but for fills, which come one by one.

        An order that the venue calls filled, or cancelled after a part was filled, stays open here
        until the fills that it counts have come: a position is made of fills alone.
        """
        order = self.find(word.client_order_id)
        if order is None:
            return
        status = word.status
        if status.is_final and word.filled > order.filled:
            status = OrderStatus.OPEN
        moved = order.moved(status, reason=word.reason, venue_order_id=word.venue_order_id)
        if moved != order:
            self.add(moved)

    @property
    def finished(self) -> Collection[str]:
        """Client ids of orders that ended since this process began, or were remembered."""
        return self._finished.keys()

    def mark(self, instrument: InstrumentId, price: Decimal, at: datetime) -> None:
        """Take the last price of an instrument, and the market time that it is of."""
        self.prices[instrument] = price
        self._rates = None
        self.priced_at[instrument] = at

    def fresh_prices(self, now: datetime) -> dict[InstrumentId, Decimal]:
        """Last prices that are not too old to judge an order by; market time."""
        oldest = now - RISK.price_age
        return {i: p for i, p in self.prices.items() if i in self.priced_at and self.priced_at[i] >= oldest}

    @property
    def valued(self) -> Holdings:
        """Holdings without what no price here values.

        That is dust of instruments that are traded no more: more of it is refused at a start.
        """
        held = self.holdings
        if held.positions.keys() <= self.rules.keys() and held.cash.keys() <= self._valued:
            return held
        positions = {i: p for i, p in held.positions.items() if i in self.rules}
        return replace(held, cash=self._split(held.cash)[0], positions=positions)

    @property
    def foreign_cash(self) -> Mapping[str, Decimal]:
        """Cash that none of the instruments here tells the worth of."""
        return self._split(self.holdings.cash)[1]

    def set_cash(self, account: VenueAccount) -> Mapping[str, Decimal]:
        """Believe the venue's cash: for a person who adopts it, and for an account's first start.

        Returns
        -------
        Mapping of str to Decimal
            What was left out: currencies that none of the instruments here tells the worth of.
        """
        self.holdings = replace(self.holdings, cash=self._believed(account))
        return self._split(account.cash)[1]

    def equity_with(self, account: VenueAccount, fills: Iterable[Fill]) -> Decimal:
        """What equity would be after these fills, one an instrument, and `set_cash`; raises as `equity`."""
        positions = dict(self.valued.positions)
        for fill in fills:
            before = self.holdings.position(fill.instrument)
            positions[fill.instrument] = replace(before, quantity=before.quantity + fill.signed)
        after = Holdings(self.account, self._believed(account), positions)
        return after.equity(self.prices, self._currencies, self.rates())

    def _believed(self, account: VenueAccount) -> dict[str, Decimal]:
        """The venue's cash; ours stays where the venue has it in one balance with a position."""
        held, taken = self.holdings.cash, balances(self.rules)
        return {**self._split(account.cash)[0], **{c: held[c] for c in taken if c in held}}

    def _split(self, cash: Mapping[str, Decimal]) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        """Amounts in currencies that the instruments here tell the worth of, and all others."""
        counted = {currency: amount for currency, amount in cash.items() if currency in self._valued}
        return counted, {c: amount for c, amount in cash.items() if amount and c not in self._valued}

    def rates(self) -> Mapping[str, Decimal]:
        """As `Money.rates`, at the last prices."""
        if self._rates is None:
            self._rates = self.money.rates(self.rules, self.prices)
        return self._rates

    def equity(self) -> Decimal:
        """Cash plus positions at the last prices, base currency; raises BadData as `Holdings.equity`."""
        return self.valued.equity(self.prices, self._currencies, self.rates())

    def cash(self) -> Decimal:
        """All cash, base currency."""
        return Holdings(self.account, self.valued.cash).equity({}, {}, self.rates())

    def quantity(self, instrument: InstrumentId) -> Decimal:
        """Signed units, as `Holdings.balance`."""
        return self.holdings.balance(instrument, self.rules.get(instrument))

    def pending(self, instrument: InstrumentId) -> Decimal:
        """Signed units that working orders may still trade."""
        return sum((o.remaining * o.side.sign for o in self.working_on(instrument)), ZERO)

    def take_closed(self) -> list[ClosedTrade]:
        """Trades that were closed since the last call."""
        closed, self._closed = self._closed, []
        return closed

    def take_moved(self) -> Moved:
        """What has changed since the last call; the caller writes it."""
        moved, self.moved = self.moved, Moved()
        return moved

    def _fee_rate(self, fill: Fill, rules: InstrumentRules) -> Decimal:
        if not fill.fee or fill.fee_currency in {rules.currency, balance_currency(fill.instrument, rules)}:
            return Decimal(1)
        rates = self.rates()
        try:
            return rates[fill.fee_currency] / rates[rules.currency]
        except KeyError as error:
            raise BadData(
                f"expected a price of {error} for the fee of fill {fill.fill_id}, was none: add an "
                f"instrument that trades it, or pay fees in {rules.currency}"
            ) from None


def _keep_newest(entries: dict[Any, Any], most: int) -> None:
    while len(entries) > most:
        del entries[next(iter(entries))]
