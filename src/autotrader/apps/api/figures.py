"""How accounts have done, kept for as long as it is true or dear to find out again.

A month has 43,200 equity points. Figures are made anew when the account has changed; but only after
four times as long as they took, so that they never take more than a fifth of a core.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from autotrader.apps.api.bodies import EquityBody, PerformanceBody
from autotrader.apps.api.shapes import encode, rows_of
from autotrader.domain.positions import ONE
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import AccountState, EquityPoint, Page, TradingReads
from autotrader.trading.performance import measure

_REST = 4.0
_MOST_ROWS = 200_000
_KEPT = 32
_CURVES = 4  # of one account and window


@dataclass(frozen=True, slots=True)
class Figures:
    performance: PerformanceBody
    points: Sequence[EquityPoint]
    _curves: dict[int, bytes] = field(default_factory=dict, repr=False, compare=False)

    def curve(self, most: int) -> list[EquityBody]:
        """At most so many points, oldest first, first and last among them."""
        return [EquityBody.model_validate(point) for point in self._chosen(most)]

    def curve_json(self, most: int) -> bytes:
        """The same as JSON, made once."""
        found = self._curves.get(most)
        if found is None:
            found = encode(rows_of(EquityBody, self._chosen(most)))
            if len(self._curves) >= _CURVES:  # another thread's answer may be among them: it has its own
                self._curves.clear()
            self._curves[most] = found
        return found

    def _chosen(self, most: int) -> Sequence[EquityPoint]:
        count = len(self.points)
        if count <= most:
            return self.points
        return [self.points[round(k * (count - 1) / (most - 1))] for k in range(most)]


@dataclass(slots=True)
class _Kept:
    figures: Figures
    revision: int
    until: float


class FigureBook:
    """Figures of accounts over windows of days.

    Parameters
    ----------
    clock : WallClock
    """

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, int, bool], _Kept] = {}
        self._making = threading.Lock()

    def of(self, reads: TradingReads, state: AccountState, days: int, *, one_currency: bool) -> Figures:
        """Figures of the days that end with the newest equity point.

        Parameters
        ----------
        reads : TradingReads
            Of the instant that the state is of.
        one_currency : bool
            Whether all trades are in currencies that count as the base currency; without, there are
            no figures of trades.
        """
        key = (state.account, days, one_currency)
        with self._making:  # one at a time: whoever waited finds it made
            kept = self._kept.get(key)
            now = self._clock.monotonic()
            if kept is not None and (kept.revision == state.revision or now < kept.until):
                return kept.figures
            figures = _made(reads, state.account, days, one_currency=one_currency)
            done = self._clock.monotonic()
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = _Kept(figures, state.revision, done + _REST * (done - now))
            return figures


def _made(reads: TradingReads, account: str, days: int, *, one_currency: bool) -> Figures:
    newest = reads.equity(account, Page(limit=1))
    start = newest[0].at - timedelta(days=days) if newest else None
    points = list(reversed(reads.equity(account, Page(start=start, limit=_MOST_ROWS))))
    trades = reads.trades(account, Page(start=start, limit=_MOST_ROWS)) if one_currency else ()
    found = measure(points, trades, rates={trade.instrument: ONE for trade in trades})
    body = PerformanceBody(
        start=points[0].at if points else None,
        end=points[-1].at if points else None,
        sharpe=found.sharpe,
        max_drawdown=found.max_drawdown,
        trades=found.trades if one_currency else None,
        winners=found.winners if one_currency else None,
        win_rate=found.win_rate,
        gross_profit=found.gross_profit if one_currency else None,
        gross_loss=found.gross_loss if one_currency else None,
        profit_factor=found.profit_factor,
        value_at_risk=found.value_at_risk,
        turnover=found.turnover if one_currency else None,
    )
    return Figures(body, points)
