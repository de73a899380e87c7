"""What trading costs: fee, half spread, slippage, market impact, and borrowing for shorts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from autotrader.domain.errors import ConfigurationError
from autotrader.execution.compiled import njit

BPS = 1e-4


@dataclass(frozen=True, slots=True)
class Costs:
    """Rates of cost, in basis points (1 bp = 0.0001) of the notional of one side.

    Attributes
    ----------
    fee_bps : float
        Commission of the venue.
    half_spread_bps : float
        From mid (the bar's open) to the side that is hit.
    slippage_bps : float
        What is lost beyond the quoted price, whatever the size.
    impact_bps : float
        Cost of trading as much as the whole bar did; grows with the square root of participation.
    borrow_bps_per_day : float
        Cost of holding a short, per calendar day of its notional.
    """

    fee_bps: float = 0.0
    half_spread_bps: float = 0.0
    slippage_bps: float = 0.0
    impact_bps: float = 0.0
    borrow_bps_per_day: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigurationError(f"expected {field.name} of 0 or more, was {value}")

    @classmethod
    def of_round_trip(cls, round_trip_bps: float, *, borrow_bps_per_day: float = 0.0) -> Costs:
        """Costs whose entry and exit together are `round_trip_bps`, all of it counted as fee."""
        return cls(fee_bps=round_trip_bps / 2, borrow_bps_per_day=borrow_bps_per_day)

    @property
    def one_way_rate(self) -> float:
        """Cost of one side as a fraction of its notional, impact excluded."""
        return (self.fee_bps + self.half_spread_bps + self.slippage_bps) * BPS

    @property
    def round_trip_bps(self) -> float:
        """Entry plus exit, impact and borrowing excluded."""
        return 2 * (self.fee_bps + self.half_spread_bps + self.slippage_bps)


@njit
def trade_cost(notional: float, bar_notional: float, one_way_rate: float, impact_rate: float) -> float:
    """Cost of one fill, in quote currency.

    The square-root law of impact: cost per unit grows with the root of participation (Almgren,
    Thum, Hauptmann and Li 2005, "Direct Estimation of Equity Market Impact"; Toth et al. 2011).

    Parameters
    ----------
    notional : float
        Absolute traded value.
    bar_notional : float
        Value that the whole market traded in the bar; NaN where the venue has no volume (then no
        impact can be computed, and none is charged).
    one_way_rate, impact_rate : float
        Fractions, not basis points.
    """
    cost = one_way_rate * notional
    if impact_rate > 0.0 and bar_notional > 0.0:
        cost += impact_rate * notional * math.sqrt(notional / bar_notional)
    return cost


@njit
def borrow_cost(short_notional: float, elapsed_us: int, rate_per_day: float) -> float:
    """Cost of having been short by this (absolute) notional for this long, in quote currency."""
    return short_notional * rate_per_day * (elapsed_us / 86_400_000_000.0)
