"""From a forecast to a target position: threshold, holding time, volatility target, cost hurdle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from autotrader.domain.errors import BadData, ConfigurationError
from autotrader.execution.arrays import Floats, Integers, Times
from autotrader.execution.clock import bar_length, bars_per_year, microseconds
from autotrader.execution.compiled import njit


@dataclass(frozen=True, slots=True)
class Sizing:
    """How a forecast becomes a position.

    A score is the probability of a rise beyond costs minus that of a fall beyond costs, in
    [-1, 1]. A position is taken when the score's size exceeds `entry_score` and its expected move
    pays for the costs; it is kept at the size it was given until the score turns, or until
    `holding` has passed since the last confirming score.

    Attributes
    ----------
    entry_score : float
        In [0, 1).
    holding : timedelta
        On the time grid, not in rows.
    volatility_target : float or None
        Annualised volatility of the position as a fraction of equity; None sizes every position
        at `max_position`.
    max_position : float
        Largest absolute target, as a fraction of equity, in (0, 1].
    cost_multiple : float
        The expected move must exceed the round-trip cost this many times; 0 is no hurdle. The
        expected move is |score| x volatility over `holding`: the score as the skill of a forecast
        of unit variance.
    round_trip_cost_bps : float
        What the hurdle is measured against.
    shortable : bool
        False: a fall is no reason to be short, only to be flat.
    """

    entry_score: float
    holding: timedelta
    volatility_target: float | None = None
    max_position: float = 1.0
    cost_multiple: float = 0.0
    round_trip_cost_bps: float = 0.0
    shortable: bool = False

    def __post_init__(self) -> None:
        expectations = {
            "entry_score in [0, 1)": (self.entry_score, 0 <= self.entry_score < 1),
            "holding above zero": (self.holding, self.holding > timedelta(0)),
            "volatility_target above zero or None": (
                self.volatility_target,
                self.volatility_target is None or 0 < self.volatility_target < math.inf,
            ),
            "max_position in (0, 1]": (self.max_position, 0 < self.max_position <= 1),
            "cost_multiple of 0 or more": (self.cost_multiple, 0 <= self.cost_multiple < math.inf),
            "round_trip_cost_bps of 0 or more": (
                self.round_trip_cost_bps,
                0 <= self.round_trip_cost_bps < math.inf,
            ),
        }
        for expected, (value, holds) in expectations.items():
            if not holds:
                raise ConfigurationError(f"expected {expected}, was {value}")

    @property
    def needs_volatility(self) -> bool:
        return self.volatility_target is not None or self.cost_multiple > 0

    def rates(self, *, interval: timedelta, bars_a_year: float) -> SizingRates:
        """The same rules in units of one bar, as the kernels want them."""
        target = math.inf if self.volatility_target is None else self.volatility_target
        return SizingRates(
            entry_score=self.entry_score,
            holding_us=self.holding // timedelta(microseconds=1),
            holding_root=math.sqrt(self.holding / interval),
            volatility_per_bar=target / math.sqrt(bars_a_year),
            max_position=self.max_position,
            hurdle=self.cost_multiple * self.round_trip_cost_bps * 1e-4,
            shortable=self.shortable,
        )


class SizingRates(NamedTuple):
    """`Sizing` in units of one bar: the last arguments of `next_target`, in their order."""

    entry_score: float
    holding_us: int
    holding_root: float
    volatility_per_bar: float
    max_position: float
    hurdle: float
    shortable: bool


@njit
def next_target(
    target: float,
    expires_us: int,
    now_us: int,
    score: float,
    volatility: float,
    entry_score: float,
    holding_us: int,
    holding_root: float,
    volatility_per_bar: float,
    max_position: float,
    hurdle: float,
    shortable: bool,
) -> tuple[float, int]:
    """Target position after one bar's score, and when it expires; the trader's own call.

    Parameters
    ----------
    target, expires_us : float, int
        As returned for the bar before; (0.0, 0) to begin with.
    now_us : int
        The bar's open, microseconds since 1970.
    score : float
        Known at the bar's close; NaN is no opinion.
    volatility : float
        Standard deviation of the simple return of one bar, known at the bar's close. NaN or zero
        opens nothing.
    """
    if abs(score) > entry_score and volatility > 0.0 and abs(score) * volatility * holding_root > hurdle:
        if score < 0.0 and not shortable:
            return 0.0, now_us
        if target * score > 0.0:
            return target, now_us + holding_us
        size = min(max_position, volatility_per_bar / volatility)
        return (size if score > 0.0 else -size), now_us + holding_us
    if now_us >= expires_us:
        return 0.0, expires_us
    return target, expires_us


def target_positions(
    ts: Times,
    score: Floats,
    *,
    sizing: Sizing,
    volatility: Floats | None = None,
    bars_a_year: float | None = None,
) -> Floats:
    """Target position at the close of every bar.

    Parameters
    ----------
    ts : datetime64[n]
        Bar opens, strictly increasing.
    score : float64[n]
        In [-1, 1]; NaN is no opinion. Uses data up to and including the bar.
    sizing : Sizing
    volatility : float64[n] or None
        As in `next_target`; needed where `sizing.needs_volatility`.
    bars_a_year : float or None
        Observed in `ts` when None.

    Returns
    -------
    float64[n]
        Fractions of equity in [-1, 1], to be traded from the next bar on.

    Raises
    ------
    BadData
        If shapes differ, or volatility is needed and absent.
    """
    rates = sizing.rates(interval=bar_length(ts), bars_a_year=bars_a_year or bars_per_year(ts))
    known = known_volatility(score, volatility, needed=sizing.needs_volatility)
    if len(ts) != len(score):
        raise BadData(f"expected a score for each of {len(ts)} bars, were {len(score)}")
    rows, targets = np.empty(len(score), np.int64), np.empty(len(score))
    changes = find_target_changes(microseconds(ts), score, known, *rates, rows, targets)
    position = np.empty(len(score))
    _expand(rows[:changes], targets[:changes], position)
    return position


def known_volatility(score: Floats, volatility: Floats | None, *, needed: bool) -> Floats:
    """The volatility of every bar, or ones where no rule looks at it.

    Raises
    ------
    BadData
        If it is needed and absent, or of another length.
    """
    if volatility is None:
        if needed:
            raise BadData("expected volatility for a volatility target or a cost hurdle, was None")
        return np.ones(len(score))
    if len(volatility) != len(score):
        raise BadData(f"expected a volatility for each of {len(score)} scores, were {len(volatility)}")
    return volatility


@njit
def find_target_changes(
    opens_us: Integers,
    score: Floats,
    volatility: Floats,
    entry_score: float,
    holding_us: int,
    holding_root: float,
    volatility_per_bar: float,
    max_position: float,
    hurdle: float,
    shortable: bool,
    rows: Integers,
    targets: Floats,
) -> int:
    """Rows at which `next_target` changes the target, and to what; returns their number.

    It is called at the rows that could change anything: those with a score beyond entry, and the
    first one at or after the expiry. At all others it returns what it was given.
    """
    n = len(score)
    strong, events = np.empty(n, np.int64), 0
    for row in range(n):
        # Written always and counted sometimes: no branch to predict wrongly.
        strong[events] = row
        events += abs(score[row]) > entry_score
    target, expires_us, count, last = 0.0, 0, 0, -1
    for event in range(events + 1):
        row = strong[event] if event < events else n
        if target != 0.0 and row > 0 and opens_us[row - 1] >= expires_us:
            expired = last + 1 + np.searchsorted(opens_us[last + 1 : row], expires_us)
            target = 0.0
            rows[count], targets[count] = expired, target
            count += 1
        if row == n:
            break
        wanted, expires_us = next_target(
            target,
            expires_us,
            opens_us[row],
            score[row],
            volatility[row],
            entry_score,
            holding_us,
            holding_root,
            volatility_per_bar,
            max_position,
            hurdle,
            shortable,
        )
        if wanted != target:
            target = wanted
            rows[count], targets[count] = row, target
            count += 1
        last = row
    return count


@njit
def _expand(rows: Integers, targets: Floats, position: Floats) -> None:
    """The target at every row, from the rows at which it changes."""
    row, target = 0, 0.0
    for change in range(len(rows)):
        position[row : rows[change]] = target
        row, target = rows[change], targets[change]
    position[row:] = target
