"""The simulated market: the same every time, and with the traits of a real one."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from autotrader.apps.exchange.klines import kline_rows
from autotrader.apps.exchange.market import CANDLES
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.domain.errors import NotFound

END = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = 60


def simulated(
    *symbols: str, seed: int = 7, days: int = 60, planted_signal: float = 0.0, end: datetime = END
) -> SimulatedMarket:
    return SimulatedMarket(
        symbols or ("BTCUSDT",), seed=seed, end=end, days=days, planted_signal=planted_signal
    )


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return simulated().candles("BTCUSDT")


@pytest.fixture(scope="module")
def returns(bars: pl.DataFrame) -> np.ndarray:
    return np.diff(np.log(bars["close"].to_numpy()))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    both = np.isfinite(x) & np.isfinite(y)
    return float(np.corrcoef(x[both], y[both])[0, 1])


def explained_share(market: SimulatedMarket) -> float:
    """Share of the next hour's return that the taker-buy share of the last 30 bars explains."""
    bars = market.candles(market.symbols[0])
    price = np.log(bars["close"].to_numpy())
    flow = (bars["taker_buy_base"] / bars["volume"]).rolling_mean(30).to_numpy()
    return correlation(flow[:-HOUR], price[HOUR:] - price[:-HOUR]) ** 2


def test_the_same_parameters_give_the_same_bars() -> None:
    assert simulated(days=3).candles("BTCUSDT").equals(simulated(days=3).candles("BTCUSDT"))


def test_a_symbols_bars_do_not_depend_on_what_else_is_traded() -> None:
    alone, among = simulated(days=3), simulated("ETHUSDT", "BTCUSDT", "SOLUSDT", days=3)
    among.candles("SOLUSDT")
    assert alone.candles("BTCUSDT").equals(among.candles("BTCUSDT"))


def test_another_seed_or_symbol_is_another_path() -> None:
    market = simulated("BTCUSDT", "ETHUSDT", days=3)
    first = market.candles("BTCUSDT")["close"]
    assert not first.equals(market.candles("ETHUSDT")["close"])
    assert not first.equals(simulated(seed=8, days=3).candles("BTCUSDT")["close"])


def test_there_is_one_bar_a_minute_up_to_the_end(bars: pl.DataFrame) -> None:
    market = simulated()
    assert dict(bars.schema) == CANDLES
    assert bars["ts"][0] == market.start
    assert (bars["ts"].diff().drop_nulls().dt.total_seconds() == 60).all()
    assert bars.height == 60 * 1440


def test_every_bar_agrees_with_itself(bars: pl.DataFrame) -> None:
    c = pl.col
    holds = bars.select(
        prices=(c("low") > 0)
        & (c("low") <= pl.min_horizontal("open", "close"))
        & (c("high") >= pl.max_horizontal("open", "close")),
        volume=(c("volume") > 0) & (c("trade_count") >= 1),
        taker=(c("taker_buy_base") >= 0) & (c("taker_buy_base") <= c("volume")),
        turnover=c("quote_volume").is_between(
            c("volume") * c("low") * 0.999, c("volume") * c("high") * 1.001
        ),
        taker_turnover=c("taker_buy_quote") <= c("quote_volume"),
    )
    assert {name: bool(column.all()) for name, column in holds.to_dict().items()} == dict.fromkeys(
        holds.columns, True
    )


def test_a_bar_opens_where_the_last_one_closed(bars: pl.DataFrame) -> None:
    assert bars["open"][1:].equals(bars["close"][:-1].alias("open"))


def test_prices_and_volumes_move_by_their_steps(bars: pl.DataFrame) -> None:
    tick, lot = simulated().steps("BTCUSDT")
    for column, step in (("close", tick), ("high", tick), ("low", tick), ("volume", lot)):
        steps = bars[column] / step
        assert ((steps - steps.round()).abs() < 1e-3).all(), column


def test_eight_decimals_keep_every_value(bars: pl.DataFrame) -> None:
    rows = kline_rows(bars.head(5000), "1m").str.json_decode(pl.List(pl.String))
    for column, place in (("close", 4), ("volume", 5), ("quote_volume", 7), ("taker_buy_quote", 10)):
        text = rows.list.get(place).cast(pl.Float64)
        assert text.equals(bars[column].head(5000)), column


def test_tails_are_fat(returns: np.ndarray) -> None:
    kurtosis = np.mean(returns**4) / np.mean(returns**2) ** 2
    assert kurtosis > 6


def test_volatility_clusters_for_hours_but_returns_do_not(returns: np.ndarray) -> None:
    size = np.abs(returns)
    assert correlation(size[:-1], size[1:]) > 0.15
    assert correlation(size[:-HOUR], size[HOUR:]) > 0.1
    assert abs(correlation(returns[:-1], returns[1:])) < 0.02


def test_volume_follows_the_clock_and_the_calendar(bars: pl.DataFrame) -> None:
    by_hour = bars.group_by(pl.col("ts").dt.hour()).agg(pl.col("quote_volume").mean()).sort("ts")
    assert by_hour["quote_volume"].arg_max() in range(13, 18)
    assert by_hour["quote_volume"].max() > 1.8 * by_hour["quote_volume"].min()
    weekend = pl.col("ts").dt.weekday() > 5
    assert bars.filter(weekend)["quote_volume"].mean() < 0.8 * bars.filter(~weekend)["quote_volume"].mean()


def test_volume_comes_with_movement(bars: pl.DataFrame, returns: np.ndarray) -> None:
    assert correlation(np.abs(returns), np.log(bars["quote_volume"].to_numpy()[1:])) > 0.25


def test_symbols_move_together_in_part() -> None:
    market = simulated("BTCUSDT", "ETHUSDT")
    first, second = (np.diff(np.log(market.candles(s)["close"].to_numpy())) for s in market.symbols)
    assert 0.2 < correlation(first, second) < 0.8


def test_without_a_signal_the_past_says_nothing_of_the_next_hour() -> None:
    assert explained_share(simulated(days=200)) < 0.005


def test_a_planted_signal_can_be_found_and_grows_with_its_strength() -> None:
    shares = [explained_share(simulated(days=200, planted_signal=s)) for s in (0.05, 0.2, 0.5)]
    assert 0.015 < shares[0] < 0.05
    assert 0.08 < shares[1] < 0.2
    assert shares[1] < shares[2] < 0.5


def test_an_unknown_symbol_is_not_found() -> None:
    with pytest.raises(NotFound, match="DOGEUSDT"):
        simulated().candles("DOGEUSDT")


def test_an_end_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        simulated(end=datetime(2024, 3, 1))  # noqa: DTZ001
