"""What limits are judged against: positions, and what working orders may yet make of them."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal

from autotrader.domain.instruments import InstrumentId, InstrumentRules
from autotrader.domain.orders import ZERO, Order, Side
from autotrader.domain.positions import Holdings
from autotrader.domain.thresholds import RISK
from autotrader.domain.trading import TradingState
from autotrader.ports.trading import Restriction

_MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Exposure:
    """One instrument: what is held, and how far working orders could take it.

    Attributes
    ----------
    position : Decimal
        Signed units, as `Holdings.balance`.
    buying, selling : Decimal
        Units, above zero, that working orders may still buy and sell. Each of them may be filled
        without the other.
    price : Decimal or None
        Of the last trade, quote currency; None where it is not known.
    rate : Decimal or None
        Base currency per unit of quote currency; None where it is not known.
    stop_distance : Decimal or None
        Fraction of the price that a trade may lose (`stop_distance`); None where it is not known.
    of_strategy : bool
        Whether it counts for the strategy; all count for the account.
    unexplained : Decimal
        Signed units that the venue has beyond `position`, and nobody knows why.
    """

    position: Decimal = ZERO
    buying: Decimal = ZERO
    selling: Decimal = ZERO
    price: Decimal | None = None
    rate: Decimal | None = None
    stop_distance: Decimal | None = None
    of_strategy: bool = True
    unexplained: Decimal = ZERO

    @property
    def certain(self) -> Decimal:
        """What of the position the venue has, too: to end more than that would open one there."""
        theirs = self.position + self.unexplained
        return ZERO if self.position * theirs <= 0 else min(self.position, theirs, key=abs)

    @property
    def unit_value(self) -> Decimal | None:
        """Base currency per unit of the instrument."""
        return None if self.price is None or self.rate is None else self.price * self.rate

    @property
    def worst_units(self) -> Decimal:
        """The largest position, either way, that any fills of working orders can make."""
        return max(self.position + self.buying, self.selling - self.position)

    @property
    def is_empty(self) -> bool:
        return not (self.position or self.buying or self.selling)

    def reach(self, side: Side) -> Decimal:
        """Units beyond flat on this side if all that works on it is filled; below zero: short of flat."""
        return self.position + self.buying if side is Side.BUY else self.selling - self.position

    def reducible(self, side: Side) -> Decimal:
        """Units that an order of this side may have and not open anything, here or at the venue,
        whatever is filled.
        """
        certain = replace(self, position=self.certain)
        return max(-certain.reach(side), ZERO)


@dataclass(frozen=True, slots=True)
class RiskView:
    """The account, as an order is judged against it.

    Attributes
    ----------
    equity : Decimal
        Base currency.
    now : datetime
        Market time.
    exposures : Mapping
        Of every instrument that is held, worked or traded.
    order_times : sequence of datetime
        `decided_at` of the orders of the last day, ascending.
    restrictions : tuple of Restriction
    """

    equity: Decimal
    now: datetime
    exposures: Mapping[InstrumentId, Exposure]
    order_times: Sequence[datetime] = ()
    restrictions: tuple[Restriction, ...] = ()

    @classmethod
    def of(
        cls,
        holdings: Holdings,
        working: Iterable[Order],
        *,
        equity: Decimal,
        now: datetime,
        prices: Mapping[InstrumentId, Decimal],
        rates: Mapping[str, Decimal],
        rules: Mapping[InstrumentId, InstrumentRules],
        stop_distances: Mapping[InstrumentId, Decimal],
        order_times: Sequence[datetime],
        restrictions: tuple[Restriction, ...],
        strategy: Collection[InstrumentId] | None = None,
        unexplained: Mapping[InstrumentId, Decimal] | None = None,
    ) -> RiskView:
        """The view of an account.

        Parameters
        ----------
        working : iterable of Order
            All that are not final, without the one that is to be judged.
        prices : Mapping
            Of the last trades, quote currency.
        rates : Mapping
            Base currency per unit of each currency.
        rules : Mapping
            Of the instruments that are traded.
        strategy : collection of InstrumentId or None
            Instruments of the strategy; None: all.
        unexplained : Mapping or None
            Signed units that the venue has beyond ours; None: none.
        """
        buying: dict[InstrumentId, Decimal] = {}
        selling: dict[InstrumentId, Decimal] = {}
        for order in working:
            if not order.status.is_final:
                units = buying if order.side is Side.BUY else selling
                units[order.instrument] = units.get(order.instrument, ZERO) + order.remaining
        exposures = {}
        for instrument in {*holdings.positions, *buying, *selling, *rules}:
            rule = rules.get(instrument)
            exposures[instrument] = Exposure(
                position=holdings.balance(instrument, rule),
                buying=buying.get(instrument, ZERO),
                selling=selling.get(instrument, ZERO),
                price=prices.get(instrument),
                rate=None if rule is None else rates.get(rule.currency),
                stop_distance=stop_distances.get(instrument),
                of_strategy=strategy is None or instrument in strategy,
                unexplained=(unexplained or {}).get(instrument, ZERO),
            )
        return cls(equity, now, exposures, order_times, restrictions)

    @property
    def state(self) -> TradingState:
        """The worst that any restriction demands."""
        return max(
            (r.state for r in self.restrictions), key=lambda state: state.rank, default=TradingState.ACTIVE
        )

    @property
    def breaker_tripped(self) -> bool:
        return any(restriction.cause.is_breaker for restriction in self.restrictions)

    def with_order(self, order: Order) -> RiskView:
        """The view once this order works, too: what the bar's next order is judged against."""
        before = self.exposures[order.instrument]
        if order.side is Side.BUY:
            after = replace(before, buying=before.buying + order.remaining)
        else:
            after = replace(before, selling=before.selling + order.remaining)
        times = list(self.order_times)
        insort(times, order.decided_at)
        return replace(self, exposures={**self.exposures, order.instrument: after}, order_times=times)


def stop_distance(volatility: float, holding: timedelta, interval: timedelta) -> Decimal | None:
    """How far the price may well go against a position by the time it ends, as a fraction of the price.

    `stop_deviations` x volatility x sqrt(holding / interval): so many standard deviations of a random
    walk over the holding time, rounded up to a millionth.

    Parameters
    ----------
    volatility : float
        Standard deviation of the simple return of one bar.
    holding : timedelta
        How long a position is held.
    interval : timedelta
        Length of a bar.

    Returns
    -------
    Decimal or None
        None where the volatility is not known (NaN), or zero, which a traded price does not have.
    """
    distance = RISK.stop_deviations * volatility * math.sqrt(holding / interval)
    if not 0 < distance < math.inf:
        return None
    return Decimal(distance).quantize(_MILLIONTH, ROUND_UP)
