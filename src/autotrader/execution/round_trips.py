"""Round trips: what each closed trade earned."""

from __future__ import annotations

import numpy as np

from autotrader.execution.arrays import Floats
from autotrader.execution.compiled import njit
from autotrader.execution.fills import Fills


def closed_trades(fills: Fills) -> Floats:
    """Net PnL of every closed round trip, in quote currency.

    A trade begins when a position is opened from flat and ends when it is closed or turned round;
    changes of size in between belong to it. Where a fill turns a position round, its cost is
    shared in proportion to what it closed and what it opened.
    """
    pnl = np.empty(len(fills))
    return pnl[: _close_trades(fills.units, fills.held, fills.equity, fills.cost, pnl)].copy()


@njit
def _close_trades(units: Floats, held: Floats, equity: Floats, cost: Floats, pnl: Floats) -> int:
    count = 0
    began_with = 0.0
    for k in range(len(units)):
        before = held[k] - units[k] if k == 0 else held[k - 1]
        if before == 0.0:
            began_with = equity[k]
        elif before * held[k] <= 0.0:
            closing = cost[k] * abs(before) / abs(units[k])
            pnl[count] = equity[k] - closing - began_with
            count += 1
            began_with = equity[k] - closing
    return count
