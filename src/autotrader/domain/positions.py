"""Positions and cash, rebuilt by applying fills, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId, InstrumentRules, balance_currency
from autotrader.domain.orders import ZERO, Fill, Side

ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """A position from flat to flat (or to the other side).

    Attributes
    ----------
    side : Side
        BUY for a position that was long.
    quantity : Decimal
        All that was bought into it (sold, for a short).
    entry, exit : Decimal
        Average prices.
    pnl : Decimal
        In quote currency, fees of both sides taken off.
    """

    account: str
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    entry: Decimal
    exit: Decimal
    fees: Decimal
    pnl: Decimal
    opened_at: datetime
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """Units of one instrument, and what they cost.

    Attributes
    ----------
    quantity : Decimal
        Below zero is short.
    cost : Decimal
        What the units held were bought for (below zero: sold for), in quote currency, fees apart.
    realised, fees : Decimal
        Since ever, quote currency; `realised` is before fees.
    opened_at : datetime or None
        When the present position was begun; None while flat.
    entered, left : Decimal
        Units into and out of the present position, both above zero.
    entered_value, left_value, trip_fees : Decimal
        What was paid and received for them, quote currency.
    """

    account: str
    instrument: InstrumentId
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    opened_at: datetime | None = None
    entered: Decimal = ZERO
    left: Decimal = ZERO
    entered_value: Decimal = ZERO
    left_value: Decimal = ZERO
    trip_fees: Decimal = ZERO

    @property
    def average_price(self) -> Decimal | None:
        return self.cost / self.quantity if self.quantity else None

    def value(self, price: Decimal) -> Decimal:
        return self.quantity * price

    def unrealised(self, price: Decimal) -> Decimal:
        return self.quantity * price - self.cost

    def after(
        self,
        fill: Fill,
        *,
        base_currency: str | None = None,
        fee_rate: Decimal = ONE,
        dust: Decimal = ZERO,
    ) -> tuple[Position, ClosedTrade | None]:
        """The position after a fill, and the trade that it closed, if it did.

        Parameters
        ----------
        fill : Fill
        base_currency : str or None
            What the units are (`BTC` of BTCUSDT): a fee in it is taken off the units.
        fee_rate : Decimal
            Quote currency per unit of the fee's currency.
        dust : Decimal
            Fewer units than this cannot be traded: what is left then is held, but no open trade.
        """
        in_units = base_currency is not None and fill.fee_currency == base_currency
        fee = ZERO if in_units else fill.fee * fee_rate
        signed = fill.signed
        if not signed:
            # A fee that came after its fill is of the present trade while there is one.
            share = fee if self.opened_at else ZERO
            after, trade = replace(self, fees=self.fees + fee, trip_fees=self.trip_fees + share), None
        elif self.quantity * signed >= 0 or abs(self.quantity) < dust:
            after, trade = self._entered(signed, fill.price, fee, fill.at), None
        else:
            closing = min(abs(signed), abs(self.quantity))
            share = closing / abs(signed)
            after, trade = self._left(closing, fill.price, fee * share), None
            if abs(after.quantity) < dust or not after.quantity:
                # What fees in units have made of it was never entered: ending that is no trade.
                trade = after._closed(self.quantity, fill.at) if self.entered else None
                after = Position(
                    self.account, self.instrument, after.quantity, after.cost, after.realised, after.fees
                )
                if rest := signed + self.quantity - after.quantity:
                    after = after._entered(rest, fill.price, fee * (1 - share), fill.at)
        if in_units:
            after = replace(after, quantity=after.quantity - fill.fee)
        return after, trade

    def _entered(self, signed: Decimal, price: Decimal, fee: Decimal, at: datetime) -> Position:
        return replace(
            self,
            quantity=self.quantity + signed,
            cost=self.cost + signed * price,
            fees=self.fees + fee,
            opened_at=self.opened_at or at,
            entered=self.entered + abs(signed),
            entered_value=self.entered_value + abs(signed) * price,
            trip_fees=self.trip_fees + fee,
        )

    def _left(self, closing: Decimal, price: Decimal, fee: Decimal) -> Position:
        sign = 1 if self.quantity > 0 else -1
        whole = closing == abs(self.quantity)
        cost = self.cost if whole else self.cost * closing / abs(self.quantity)
        return replace(
            self,
            quantity=self.quantity - sign * closing,
            cost=self.cost - cost,
            realised=self.realised + sign * closing * price - cost,
            fees=self.fees + fee,
            left=self.left + closing,
            left_value=self.left_value + closing * price,
            trip_fees=self.trip_fees + fee,
        )

    def _closed(self, before: Decimal, at: datetime) -> ClosedTrade:
        sign = 1 if before > 0 else -1
        return ClosedTrade(
            account=self.account,
            instrument=self.instrument,
            side=Side.of(before),
            quantity=self.entered,
            entry=self.entered_value / self.entered,
            exit=self.left_value / self.left,
            fees=self.trip_fees,
            pnl=sign * (self.left_value - self.entered_value) - self.trip_fees,
            opened_at=self.opened_at or at,
            closed_at=at,
        )


@dataclass(frozen=True, slots=True)
class Holdings:
    """Cash by currency and positions of one account.

    Attributes
    ----------
    cash : Mapping[str, Decimal]
    positions : Mapping[InstrumentId, Position]
    """

    account: str
    cash: Mapping[str, Decimal] = field(default_factory=dict)
    positions: Mapping[InstrumentId, Position] = field(default_factory=dict)

    def position(self, instrument: InstrumentId) -> Position:
        return self.positions.get(instrument) or Position(self.account, instrument)

    def balance(self, instrument: InstrumentId, rules: InstrumentRules | None) -> Decimal:
        """Signed units that the venue has of it, and that can be sold.

        On a spot market fees of other instruments may be paid in what is a position: one balance there,
        two entries here.
        """
        currency = None if rules is None else balance_currency(instrument, rules)
        beside = ZERO if currency is None else self.cash.get(currency, ZERO)
        return self.position(instrument).quantity + beside

    def after(
        self,
        fill: Fill,
        *,
        currency: str,
        base_currency: str | None = None,
        fee_rate: Decimal = ONE,
        dust: Decimal = ZERO,
    ) -> tuple[Holdings, ClosedTrade | None]:
        """The holdings after a fill, and the trade that it closed, if it did.

        Parameters
        ----------
        currency : str
            The instrument's quote currency, which pays for the units.
        base_currency, fee_rate, dust
            As in `Position.after`.
        """
        position, trade = self.position(fill.instrument).after(
            fill, base_currency=base_currency, fee_rate=fee_rate, dust=dust
        )
        cash = dict(self.cash)
        cash[currency] = cash.get(currency, ZERO) - fill.signed * fill.price
        if fill.fee and fill.fee_currency != base_currency:
            cash[fill.fee_currency] = cash.get(fill.fee_currency, ZERO) - fill.fee
        return replace(self, cash=cash, positions={**self.positions, fill.instrument: position}), trade

    def equity(
        self,
        prices: Mapping[InstrumentId, Decimal],
        currencies: Mapping[InstrumentId, str],
        rates: Mapping[str, Decimal],
    ) -> Decimal:
        """Cash plus positions, in base currency.

        Parameters
        ----------
        prices : Mapping
            Of every instrument that is held, in its quote currency.
        currencies : Mapping
            Their quote currencies.
        rates : Mapping
            Base currency per unit of each currency in use.

        Raises
        ------
        BadData
            If a price or a rate is missing: an equity without it would be made up.
        """
        try:
            total = sum((amount * rates[name] for name, amount in self.cash.items() if amount), ZERO)
            for instrument, position in self.positions.items():
                if position.quantity:
                    total += position.value(prices[instrument]) * rates[currencies[instrument]]
        except KeyError as error:
            raise BadData(f"expected a price and a rate for all that is held, was none of {error}") from None
        return total
