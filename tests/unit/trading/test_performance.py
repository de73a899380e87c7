from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest

from autotrader.domain.errors import BadData
from autotrader.domain.orders import Side
from autotrader.domain.positions import ClosedTrade
from autotrader.ports.trading import EquityPoint
from autotrader.trading.performance import measure
from tests.unit.trading.account import BTC, EUR, NOW, D

MINUTE = timedelta(minutes=1)
RATES = {BTC: D(1), EUR: D(1)}


def path(equities: Sequence[float | str], *, every: timedelta = MINUTE) -> list[EquityPoint]:
    return [
        EquityPoint("main", NOW + i * every, D(str(equity)), D(0), 0.0, D(0))
        for i, equity in enumerate(equities)
    ]


def trade(
    pnl: str, *, quantity: str = "1", entry: str = "100", exit: str = "100", at: int = 0
) -> ClosedTrade:
    when = NOW + at * MINUTE
    return ClosedTrade("main", BTC, Side.BUY, D(quantity), D(entry), D(exit), D(0), D(pnl), when, when)


def random_walk(n: int) -> list[float]:
    chance = random.Random(7)
    equity = [100_000.0]
    for _ in range(n):
        equity.append(round(equity[-1] * (1 + chance.gauss(1e-5, 1e-3)), 2))
    return equity


def test_without_data_nothing_is_said_to_be_zero() -> None:
    found = measure([], [], rates={})
    assert (found.sharpe, found.max_drawdown, found.win_rate, found.profit_factor) == (None,) * 4
    assert (found.value_at_risk, found.turnover) == (None, None)
    assert (found.returns, found.trades) == (0, 0)


def test_the_sharpe_ratio_is_of_the_steps_of_a_year() -> None:
    equity = random_walk(500)
    returns = [b / a - 1 for a, b in pairwise(equity)]
    expected = statistics.mean(returns) / statistics.stdev(returns) * math.sqrt(365 * 24 * 60)
    found = measure(path(equity), [], rates={})
    assert found.returns == 500
    assert found.sharpe == pytest.approx(expected, rel=1e-9)


def test_points_are_taken_at_the_grid_whenever_they_were_made() -> None:
    equity = random_walk(400)
    found = measure(path(equity), [], rates={}, step=timedelta(minutes=5), horizon=timedelta(hours=1))
    coarse = measure(
        path(equity[::5], every=timedelta(minutes=5)),
        [],
        rates={},
        step=timedelta(minutes=5),
        horizon=timedelta(hours=1),
    )
    assert (found.sharpe, found.returns) == (coarse.sharpe, 80)


def test_nothing_later_than_the_grid_point_is_taken_for_it() -> None:
    off = [
        EquityPoint("main", NOW + i * MINUTE + timedelta(seconds=30), D(100 + i % 3), D(0), 0.0, D(0))
        for i in range(40)
    ]
    on = path([100 + i % 3 for i in range(39)])
    assert measure(off, [], rates={}).sharpe == measure(on, [], rates={}).sharpe


def test_equity_stands_still_where_there_are_no_points() -> None:
    equity = random_walk(40)
    points = path(equity)
    gap = points[:20] + points[30:]
    filled = [*equity[:20], *[equity[19]] * 10, *equity[30:]]
    assert measure(gap, [], rates={}).sharpe == measure(path(filled), [], rates={}).sharpe


def test_the_order_of_points_does_not_matter() -> None:
    points = path(random_walk(50))
    assert measure(points[::-1], [], rates={}) == measure(points, [], rates={})


def test_thirty_returns_make_a_sharpe_ratio_and_fewer_do_not() -> None:
    equity = random_walk(30)
    assert measure(path(equity), [], rates={}).sharpe is not None
    assert measure(path(equity[:-1]), [], rates={}).sharpe is None


@pytest.mark.parametrize("equity", [[100_000.0] * 50, [1.0 * 2**i for i in range(50)], [*[5.0] * 49, -1.0]])
def test_a_path_without_spread_or_of_a_lost_account_has_no_sharpe_ratio(equity: list[float]) -> None:
    assert measure(path(equity), [], rates={}).sharpe is None


def test_the_drawdown_is_the_deepest_fall_from_a_peak() -> None:
    assert measure(path([100, 120, 90, 130, 110]), [], rates={}).max_drawdown == pytest.approx(0.25)
    assert measure(path([100, 101]), [], rates={}).max_drawdown == 0.0
    assert measure(path([100]), [], rates={}).max_drawdown is None


def test_trades_are_counted_after_fees_and_in_base_currency() -> None:
    trades = [trade("10"), trade("-4", at=1), trade("0", at=2), trade("2", at=3)]
    found = measure(path([100, 100]), trades, rates={BTC: D("1.5")})
    assert (found.trades, found.winners, found.win_rate) == (4, 2, 0.5)
    assert (found.gross_profit, found.gross_loss) == (D(18), D(6))
    assert found.profit_factor == 3.0


def test_without_losers_there_is_no_profit_factor() -> None:
    assert measure([], [trade("10")], rates=RATES).profit_factor is None


def test_turnover_counts_both_sides_over_mean_equity() -> None:
    found = measure(path([900, 1100]), [trade("1", quantity="2", entry="100", exit="110")], rates=RATES)
    assert found.turnover == pytest.approx(0.42)


def test_the_value_at_risk_is_a_loss_that_was_there() -> None:
    # One return in twenty, exactly, is -3 %; inverted, the 5 % quantile is that one.
    equity = [100.0]
    for i in range(100):
        equity.append(equity[-1] * (0.97 if i % 20 == 0 else 1.001))
    found = measure(path(equity), [], rates={}, horizon=MINUTE)
    assert found.value_at_risk == pytest.approx(0.03)


def test_twenty_horizons_make_a_value_at_risk_and_fewer_do_not() -> None:
    equity = random_walk(20 * 60)
    hour = timedelta(hours=1)
    assert measure(path(equity), [], rates={}, horizon=hour).value_at_risk is not None
    assert measure(path(equity[:-1]), [], rates={}, horizon=hour).value_at_risk is None


def test_a_missing_rate_or_a_crooked_horizon_is_refused() -> None:
    with pytest.raises(BadData, match="a rate for the currency of binance:BTCUSDT"):
        measure([], [trade("1")], rates={})
    with pytest.raises(BadData, match="whole steps"):
        measure([], [], rates={}, step=timedelta(minutes=7), horizon=timedelta(minutes=60))
