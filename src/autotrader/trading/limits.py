"""The one place where an order is held against every limit.

Limits hold whatever is filled: what works counts as filled wherever that is worse, so no sequence of
allowed orders exceeds one at constant prices. What moves a position beyond a limit afterwards (a price, a
loss) forbids what would add to it, and never what reduces it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import ROUND_DOWN, Context, Decimal
from enum import StrEnum

from autotrader.config.settings import RiskSettings
from autotrader.domain.instruments import InstrumentRules
from autotrader.domain.orders import ZERO, Order, Side, to_step
from autotrader.domain.trading import TradingState
from autotrader.trading.exposures import Exposure, RiskView

_DOWN = Context(prec=28, rounding=ROUND_DOWN)
_WINDOWS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


class Limit(StrEnum):
    """What an order may fail; in the order in which they are asked."""

    TRADING_STATE = "trading_state"
    REDUCE_ONLY = "reduce_only"
    SHORTING = "shorting"
    NOTIONAL = "notional"
    POSITION = "position"
    STRATEGY = "strategy"
    GROSS = "gross"
    RISK_PER_TRADE = "risk_per_trade"
    VENUE_RULES = "venue_rules"
    PRICE_BAND = "price_band"
    ORDER_COUNT = "order_count"


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """`RiskSettings`, exact. Shares are fractions of equity; money is base currency."""

    risk_per_trade: Decimal
    max_position: Decimal
    max_strategy: Decimal
    max_gross: Decimal
    max_order_notional: Decimal
    price_band: Decimal
    orders: Mapping[str, int]

    @classmethod
    def of(cls, risk: RiskSettings) -> RiskLimits:
        return cls(
            risk_per_trade=Decimal(str(risk.risk_per_trade)),
            max_position=Decimal(str(risk.max_position)),
            max_strategy=Decimal(str(risk.max_strategy)),
            max_gross=Decimal(str(risk.max_gross)),
            max_order_notional=risk.max_order_notional,
            price_band=Decimal(str(risk.price_band)),
            orders={
                "minute": risk.orders_per_minute,
                "hour": risk.orders_per_hour,
                "day": risk.orders_per_day,
            },
        )


@dataclass(frozen=True, slots=True)
class RiskVerdict:
    """Whether an order may be sent.

    Attributes
    ----------
    allowed : bool
    reason : str
        One sentence with the numbers.
    limit : Limit or None
        The first one that it fails; None if it fails none.
    evidence : Mapping[str, object]
        JSON: the units that each limit would have let it have, as far as they were asked.
    """

    allowed: bool
    reason: str
    limit: Limit | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)


def judge(
    order: Order,
    view: RiskView,
    limits: RiskLimits,
    rules: InstrumentRules,
    *,
    flattening: bool = False,
) -> RiskVerdict:
    """Hold an order against every limit.

    Parameters
    ----------
    order : Order
        Not among the working ones of the view.
    view : RiskView
    limits : RiskLimits
    rules : InstrumentRules
        Of the order's instrument.
    flattening : bool
        It is one with which the circuit breaker flattens. Believed only where the breaker has
        tripped. Such an order must reduce and obey the venue; counts and the notional cap, which
        bound what goes wrong while trading, do not keep it from ending a loss, nor does a last
        price that nobody knows.
    """
    flattening = flattening and view.breaker_tripped
    exposure = view.exposures.get(order.instrument, Exposure())
    evidence: dict[str, object] = {"quantity": str(order.quantity)}
    for limit, room in _rooms(order, view, limits, rules, exposure, flattening=flattening):
        evidence[limit.value] = str(room)
        if order.quantity > room:
            wish = f"{order.side} {order.quantity} {order.instrument}"
            why = _explain(limit, view, limits, exposure)
            most = to_step(max(room, ZERO), rules.lot)
            reason = f"{limit}: expected to {order.side} {most} at most, was to {wish}: {why}"
            return RiskVerdict(False, reason, limit, evidence)
    for limit, objection in _objections(order, view, limits, rules, exposure, flattening=flattening):
        if objection:
            return RiskVerdict(False, f"{limit}: {objection}", limit, evidence)
    return RiskVerdict(True, "within all limits", None, evidence)


def largest_allowed(
    order: Order,
    view: RiskView,
    limits: RiskLimits,
    rules: InstrumentRules,
    *,
    flattening: bool = False,
) -> Decimal:
    """The largest part of the order, in whole lots, that `judge` allows; zero if it allows none."""
    flattening = flattening and view.breaker_tripped
    exposure = view.exposures.get(order.instrument, Exposure())
    rooms = _rooms(order, view, limits, rules, exposure, flattening=flattening)
    quantity = to_step(min(order.quantity, *(room for _, room in rooms)), rules.lot)
    if quantity <= ZERO:
        return ZERO
    clipped = replace(order, quantity=quantity)
    objections = _objections(clipped, view, limits, rules, exposure, flattening=flattening)
    return ZERO if any(objection for _, objection in objections) else quantity


def _rooms(
    order: Order,
    view: RiskView,
    limits: RiskLimits,
    rules: InstrumentRules,
    exposure: Exposure,
    *,
    flattening: bool,
) -> list[tuple[Limit, Decimal]]:
    """Units that each limit leaves for an order of this side; below zero where it is exceeded already."""
    side, unit = order.side, exposure.unit_value
    reach, reducible = exposure.reach(side), exposure.reducible(side)
    state = view.state
    rooms = []
    if state is TradingState.HALTED and not flattening:
        rooms.append((Limit.TRADING_STATE, ZERO))
    elif state is not TradingState.ACTIVE:
        rooms.append((Limit.TRADING_STATE, reducible))
    if order.reduces:
        rooms.append((Limit.REDUCE_ONLY, reducible))
    if side is Side.SELL and not rules.shortable:
        rooms.append((Limit.SHORTING, reducible))
    if flattening:
        return rooms
    if unit is None or unit <= 0 or exposure.rate is None or exposure.price is None:
        # What cannot be valued cannot be opened; ending it needs no value.
        return [*rooms, (Limit.POSITION, reducible)]
    dearest = max(exposure.price, order.limit_price or ZERO) * exposure.rate
    equity = max(view.equity, ZERO)
    others, of_strategy = _others(order, view)
    at_stake = unit * (Decimal(1) if exposure.stop_distance is None else exposure.stop_distance)
    rooms.append((Limit.NOTIONAL, _DOWN.divide(limits.max_order_notional, dearest)))
    rooms.append((Limit.POSITION, _DOWN.divide(limits.max_position * equity, unit) - reach))
    for limit, share, rest in (
        (Limit.STRATEGY, limits.max_strategy, of_strategy),
        (Limit.GROSS, limits.max_gross, others),
    ):
        most = ZERO if rest is None else max(_DOWN.divide(share * equity - rest, unit), ZERO)
        rooms.append((limit, most - reach))
    rooms.append((Limit.RISK_PER_TRADE, _DOWN.divide(limits.risk_per_trade * equity, at_stake) - reach))
    return rooms


def _others(order: Order, view: RiskView) -> tuple[Decimal | None, Decimal | None]:
    """Worst exposure of all other instruments, and of the strategy's; None where one has no value."""
    total, of_strategy = ZERO, ZERO
    for instrument, exposure in view.exposures.items():
        if instrument == order.instrument or exposure.is_empty:
            continue
        unit = exposure.unit_value
        if unit is None:
            return None, None
        worth = exposure.worst_units * unit
        total += worth
        if exposure.of_strategy:
            of_strategy += worth
    return total, of_strategy


def _explain(limit: Limit, view: RiskView, limits: RiskLimits, exposure: Exposure) -> str:
    held = f"{exposure.position} is held, {exposure.buying} being bought, {exposure.selling} being sold"
    if exposure.unexplained:
        held += f", while the venue has {exposure.position + exposure.unexplained}"
    equity = f"equity {view.equity:,.2f}"
    match limit:
        case Limit.TRADING_STATE:
            why = "; ".join(r.reason for r in view.restrictions if r.state is view.state)
            return f"the account is {view.state} ({why}) and {held}"
        case Limit.REDUCE_ONLY:
            return f"it is to reduce, and {held}"
        case Limit.SHORTING:
            return f"it cannot be sold short, and {held}"
        case Limit.NOTIONAL:
            return f"one order may be worth {limits.max_order_notional:,.2f}"
        case Limit.STRATEGY:
            return f"the strategy may hold {limits.max_strategy:.2%} of {equity} at the worst, and {held}"
        case Limit.GROSS:
            return f"the account may hold {limits.max_gross:.2%} of {equity} at the worst, and {held}"
        case Limit.RISK_PER_TRADE:
            distance = exposure.stop_distance
            stop = (
                "all of it is at risk (no stop distance)" if distance is None else f"{distance:.2%} of it is"
            )
            return f"a trade may risk {limits.risk_per_trade:.2%} of {equity}, {stop}, and {held}"
        case _ if exposure.unit_value is None:
            return f"what it would be worth is not known (no price or rate), and {held}"
        case _:
            return f"one instrument may hold {limits.max_position:.2%} of {equity}, and {held}"


def _objections(
    order: Order,
    view: RiskView,
    limits: RiskLimits,
    rules: InstrumentRules,
    exposure: Exposure,
    *,
    flattening: bool,
) -> Iterator[tuple[Limit, str]]:
    """What speaks against the order however small it is made; empty where nothing does."""
    yield Limit.VENUE_RULES, _venue_objection(order, rules, exposure)
    if not (flattening and exposure.price is None):
        yield Limit.PRICE_BAND, _band_objection(order, limits, exposure)
    if not flattening:
        yield Limit.ORDER_COUNT, _count_objection(view, limits)


def _venue_objection(order: Order, rules: InstrumentRules, exposure: Exposure) -> str:
    if order.quantity <= 0 or order.quantity % rules.lot:
        return f"expected a multiple of {rules.lot} above zero, was {order.quantity}"
    if order.limit_price is not None and (order.limit_price <= 0 or order.limit_price % rules.tick):
        return f"expected a price in steps of {rules.tick} above zero, was {order.limit_price}"
    price = order.limit_price or exposure.price or order.reference_price
    if (notional := order.quantity * price) < rules.minimum_notional:
        return f"expected {rules.minimum_notional} {rules.currency} or more, was {notional:,.2f}"
    return ""


def _band_objection(order: Order, limits: RiskLimits, exposure: Exposure) -> str:
    if exposure.price is None or exposure.price <= 0:
        return f"expected a last trade of {order.instrument} to hold the price against, was none"
    for price in (order.reference_price, order.limit_price):
        if price is not None and abs(price - exposure.price) > limits.price_band * exposure.price:
            band = f"{limits.price_band:.2%} of the last trade {exposure.price}"
            return f"expected a price within {band}, was {price}"
    return ""


def _count_objection(view: RiskView, limits: RiskLimits) -> str:
    for window, length in _WINDOWS.items():
        count = len(view.order_times) - bisect_right(view.order_times, view.now - length)
        if count >= limits.orders[window]:
            return f"expected {limits.orders[window]} orders a {window} at most, there have been {count}"
    return ""
