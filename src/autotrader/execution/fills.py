"""Next-bar fills and the accounting that follows from them.

A target that was decided at the close of bar i is filled at the open of the first later bar in
which the market traded. Equity is marked at closes. Between changes of the target the number of
units is kept: a position drifts with its price and is not rebalanced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Integers, Times
from autotrader.execution.clock import microseconds
from autotrader.execution.compiled import njit
from autotrader.execution.costs import BPS, Costs, borrow_cost, trade_cost


@dataclass(frozen=True, slots=True)
class Fills:
    """What was traded; one element a fill, oldest first.

    Attributes
    ----------
    index : int64[k]
        Bar whose open was the price.
    units : float64[k]
        Signed change of the position.
    held : float64[k]
        Units held afterwards.
    equity : float64[k]
        Equity at that open, before the fill's cost; quote currency.
    cost : float64[k]
        Quote currency.
    """

    index: Integers
    units: Floats
    held: Floats
    equity: Floats
    cost: Floats

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def room_for(cls, n: int) -> Fills:
        """Unwritten space for `n` fills; takes memory as far as it is written."""
        return cls(np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n), np.empty(n))

    def first(self, count: int) -> Fills:
        """A copy of the first fills."""
        columns = (self.units, self.held, self.equity, self.cost)
        return Fills(self.index[:count].copy(), *(column[:count].copy() for column in columns))


@dataclass(frozen=True, slots=True)
class Ledger:
    """The account over time, marked at the close of every bar.

    Attributes
    ----------
    equity : float64[n]
        Quote currency. Once it is zero or less the account is closed out at that mark and stays.
    fills : Fills
    trading_cost, borrow_cost : float
        Sums over the window, quote currency.
    """

    equity: Floats
    fills: Fills
    trading_cost: float
    borrow_cost: float


@njit
def target_units(target: float, equity: float, price: float) -> float:
    """Units that make the position worth `target` times the equity at this price."""
    return target * equity / price


@njit
def trades(volume: float) -> bool:
    """Whether a bar can fill: not if nobody traded in it; an unknown volume (NaN) does not hinder."""
    return volume != 0.0


def account(
    ts: Times,
    open_: Floats,
    close: Floats,
    volume: Floats,
    position: Floats,
    *,
    costs: Costs,
    capital: float,
) -> Ledger:
    """Fill the targets and keep the books.

    Parameters
    ----------
    ts : datetime64[n]
        Bar opens, strictly increasing.
    open_, close : float64[n]
        Prices in quote currency, above zero.
    volume : float64[n]
        Units that traded in the bar; 0 delays a fill, NaN where the venue has none.
    position : float64[n]
        Target at the close of each bar, as a fraction of equity in [-1, 1]. `position[i]` is never
        traded before bar i + 1; the last one is never traded.
    costs : Costs
    capital : float
        Equity at the start, quote currency.

    Raises
    ------
    BadData
        If shapes differ, or a price or a target is out of range or not finite.
    """
    n = len(ts)
    sizes = {"open": len(open_), "close": len(close), "volume": len(volume), "position": len(position)}
    if wrong := {name: size for name, size in sizes.items() if size != n}:
        raise BadData(f"expected arrays of {n} bars, were {wrong}")
    if not (capital > 0 and math.isfinite(capital)):
        raise BadData(f"expected capital above zero, was {capital}")
    # One type of argument, one compilation: whole numbers come as integers, columns of a table strided.
    open_, close, volume, position = (
        np.ascontiguousarray(column, np.float64) for column in (open_, close, volume, position)
    )
    capital, opens_us = float(capital), np.ascontiguousarray(microseconds(ts))
    if not are_bars(opens_us, open_, close):
        raise BadData("expected increasing ts and finite prices above zero, were not in every bar")
    # Counted first: room for a change at every bar is memory that the system hands out anew each time.
    changes = count_changes(position)
    if changes < 0:
        raise BadData("expected targets in [-1, 1], were not in every bar")
    rows, targets = np.empty(changes + 1, np.int64), np.empty(changes + 1)
    find_changes(position, rows, targets)
    equity, room = np.empty(n), Fills.room_for(changes)
    count, trading, borrowing = keep_books(
        opens_us,
        open_,
        close,
        volume,
        rows[:changes],
        targets[:changes],
        *rates(costs),
        capital,
        equity,
        room.index,
        room.units,
        room.held,
        room.equity,
        room.cost,
    )
    return Ledger(equity, room.first(count), trading, borrowing)


def rates(costs: Costs) -> tuple[float, float, float]:
    """One-way, impact and daily borrow rate as fractions: the cost arguments of `keep_books`."""
    return costs.one_way_rate, costs.impact_bps * BPS, costs.borrow_bps_per_day * BPS


@njit
def are_bars(opens_us: Integers, open_: Floats, close: Floats) -> bool:
    """Whether opens increase and all prices are finite and above zero."""
    # Counted rather than conjoined: sums are what the compiler makes vector instructions of.
    wrong = 0
    for i in range(len(close)):
        wrong += not open_[i] > 0.0
        wrong += not open_[i] < math.inf
        wrong += not close[i] > 0.0
        wrong += not close[i] < math.inf
    for i in range(1, len(close)):
        wrong += not opens_us[i] > opens_us[i - 1]
    return wrong == 0


@njit
def count_changes(position: Floats) -> int:
    """How often the target changes, beginning flat; -1 if one is not in [-1, 1]."""
    changes, outside = 0, 0
    for i in range(len(position)):
        outside += not abs(position[i]) <= 1.0
    for i in range(1, len(position)):
        changes += position[i] != position[i - 1]
    if outside:
        return -1
    return changes + (len(position) > 0 and position[0] != 0.0)


@njit
def find_changes(position: Floats, rows: Integers, targets: Floats) -> None:
    """Rows at whose close the target changes, and to what, into room for one more than there are."""
    count, before = 0, 0.0
    for i in range(len(position)):
        target = position[i]
        # Written always and counted sometimes: no branch to predict wrongly.
        rows[count], targets[count] = i, target
        count += target != before
        before = target


@njit
def keep_books(
    opens_us: Integers,
    open_: Floats,
    close: Floats,
    volume: Floats,
    change_rows: Integers,
    change_targets: Floats,
    one_way_rate: float,
    impact_rate: float,
    borrow_rate: float,
    capital: float,
    equity: Floats,
    fill_index: Integers,
    fill_units: Floats,
    fill_held: Floats,
    fill_equity: Floats,
    fill_cost: Floats,
) -> tuple[int, float, float]:
    """`account` for targets given by their changes, unchecked, into the given arrays.

    Time goes from fill to fill: between two of them nothing but the price changes.

    Returns
    -------
    tuple
        Number of fills, trading cost and borrow cost.
    """
    n, changes = len(close), len(change_rows)
    cash, units, target = capital, 0.0, 0.0
    count, trading, borrowing = 0, 0.0, 0.0
    row, change = 0, 0
    while True:
        fill = n
        if change < changes:
            fill = change_rows[change] + 1
            while fill < n and not trades(volume[fill]):
                fill += 1
            while change + 1 < changes and change_rows[change + 1] < fill:
                change += 1
        if units < 0.0 and borrow_rate > 0.0:
            for i in range(row, fill):
                if i > row:
                    fee = borrow_cost(-units * close[i - 1], opens_us[i] - opens_us[i - 1], borrow_rate)
                    cash -= fee
                    borrowing += fee
                equity[i] = cash + units * close[i]
        else:
            mark(close[row:fill], cash, units, equity[row:fill])
        ruin = row + first_ruin(equity[row:fill])
        if ruin < fill:
            equity[ruin:] = equity[ruin]
            return count, trading, borrowing
        if fill == n:
            return count, trading, borrowing
        if units < 0.0 and borrow_rate > 0.0:
            fee = borrow_cost(-units * close[fill - 1], opens_us[fill] - opens_us[fill - 1], borrow_rate)
            cash -= fee
            borrowing += fee
        if change_targets[change] != target:
            target = change_targets[change]
            price = open_[fill]
            before = cash + units * price
            held = target_units(target, max(before, 0.0), price)
            traded = held - units
            cost = trade_cost(abs(traded) * price, volume[fill] * price, one_way_rate, impact_rate)
            cash = before - held * price - cost
            units = held
            trading += cost
            fill_index[count] = fill
            fill_units[count] = traded
            fill_held[count] = held
            fill_equity[count] = before
            fill_cost[count] = cost
            count += 1
        row = fill
        change += 1


@njit
def mark(close: Floats, cash: float, units: float, equity: Floats) -> None:
    """Value the same holdings at one close after another."""
    for i in range(len(close)):
        equity[i] = cash + units * close[i]


@njit
def first_ruin(equity: Floats) -> int:
    """First row at which nothing is left; the number of rows if there is none."""
    ruined = False
    for i in range(len(equity)):
        ruined |= equity[i] <= 0.0
    if ruined:
        for i in range(len(equity)):
            if equity[i] <= 0.0:
                return i
    return len(equity)
