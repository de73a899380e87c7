"""Order-book and trade features: by hand, on recorded trades, and on recorded book messages."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from autotrader.domain.errors import BadData
from autotrader.features import microstructure as ms
from tests import real_data


@pytest.fixture(scope="module")
def trades() -> pl.DataFrame:
    (path,) = (real_data.folder() / "binance_trades").glob("BTCUSDT_trades_*.csv.gz")
    return pl.read_csv(path).select(
        price=pl.col("Price").cast(pl.Float64),
        quantity=pl.col("Quantity").cast(pl.Float64),
        buyer_took=pl.col("IsBuyerMaker") == "f",
    )


def test_the_spread_is_relative_to_the_mid_price() -> None:
    assert ms.relative_spread(np.array([99.0]), np.array([101.0])) == pytest.approx(0.02)


def test_the_microprice_leans_to_the_side_with_less_size() -> None:
    bid, ask = np.array([100.0] * 3), np.array([102.0] * 3)
    prices = ms.microprice(bid, ask, np.array([1.0, 3.0, 0.0]), np.array([1.0, 1.0, 0.0]))
    assert prices[:2].tolist() == [101.0, 101.5]
    assert math.isnan(prices[2])


def test_depth_imbalance_sums_the_levels() -> None:
    bids, asks = np.array([[3.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 3.0], [2.0, 0.0]])
    assert ms.depth_imbalance(bids, asks).tolist() == [0.0, -1.0]
    assert math.isnan(ms.depth_imbalance(np.zeros(5), np.zeros(5)))


def test_a_recorded_book_has_a_price_between_its_sides() -> None:
    (path,) = (real_data.folder() / "fixtures" / "binance").rglob("spot/**/depth_response.json")
    book = json.loads(path.read_text())
    bids, asks = (np.array(book[side], dtype=float) for side in ("bids", "asks"))
    inside = ms.microprice(bids[:1, 0], asks[:1, 0], bids[:1, 1], asks[:1, 1])
    assert bids[0, 0] <= inside[0] <= asks[0, 0]
    assert ms.relative_spread(bids[:1, 0], asks[:1, 0])[0] > 0
    assert -1 <= ms.depth_imbalance(bids[:, 1], asks[:, 1]) <= 1


def test_vpin_of_a_one_sided_market_is_one_and_of_a_balanced_one_zero() -> None:
    ones = np.ones(40)
    one_sided = ms.volume_synchronised_imbalance(ones, np.ones(40, bool), bucket=2, buckets=5)
    assert np.isnan(one_sided[:9]).all()
    assert (one_sided[9:] == 1).all()
    taking_turns = ms.volume_synchronised_imbalance(ones, np.arange(40) % 2 == 0, bucket=2, buckets=5)
    assert (taking_turns[9:] == 0).all()


def test_vpin_splits_a_trade_over_buckets() -> None:
    quantity, bought = np.array([1.0, 5.0, 2.0]), np.array([False, True, True])
    # Buckets of 2: 1 sold + 1 bought, 2 bought, 2 bought, 2 bought.
    vpin = ms.volume_synchronised_imbalance(quantity, bought, bucket=2, buckets=3)
    assert math.isnan(vpin[0])
    assert vpin[1:].tolist() == [pytest.approx(2 / 3), 1.0]


def test_vpin_of_recorded_trades_is_a_share_and_sees_no_later_trade(trades: pl.DataFrame) -> None:
    quantity, bought = trades["quantity"].to_numpy(), trades["buyer_took"].to_numpy()
    bucket = float(quantity.sum()) / 200
    vpin = ms.volume_synchronised_imbalance(quantity, bought, bucket=bucket)
    known = vpin[~np.isnan(vpin)]
    assert known.size > vpin.size // 2
    assert known.min() >= 0
    assert known.max() <= 1 + 1e-12
    half = quantity.size // 2
    early = ms.volume_synchronised_imbalance(quantity[:half], bought[:half], bucket=bucket)
    assert np.array_equal(early, vpin[:half], equal_nan=True)


def test_kyle_lambda_is_the_slope_of_price_on_signed_quantity(trades: pl.DataFrame) -> None:
    quantity = np.array([1.0, 2.0, 1.0, 3.0, 2.0])
    bought = np.array([True, True, False, True, False])
    signed = np.where(bought, quantity, -quantity)
    assert ms.kyle_lambda(100 + 0.5 * np.cumsum(signed), quantity, bought) == pytest.approx(0.5)
    price, real, side = (trades[c].to_numpy() for c in ("price", "quantity", "buyer_took"))
    expected = np.polyfit(np.where(side, real, -real)[1:], np.diff(price), 1)[0]
    assert ms.kyle_lambda(price, real, side) == pytest.approx(expected)


def test_kyle_lambda_needs_variation() -> None:
    assert math.isnan(ms.kyle_lambda(np.ones(2), np.ones(2), np.ones(2, bool)))
    assert math.isnan(ms.kyle_lambda(np.ones(9), np.ones(9), np.ones(9, bool)))


def test_amihud_is_the_move_over_the_money_paid(trades: pl.DataFrame) -> None:
    price, quantity = np.array([100.0, 110.0, 50.0, 50.0, 7.0]), np.array([1.0, 2.0, 0.0, 0.0, 1.0])
    values = ms.amihud_illiquidity(price, quantity, span=2)
    assert values[0] == pytest.approx(math.log(1.1) / 320)
    assert math.isnan(values[1])
    assert values.size == 2
    real = ms.amihud_illiquidity(trades["price"].to_numpy(), trades["quantity"].to_numpy(), span=500)
    assert real.size == trades.height // 500
    assert (real >= 0).all()
    assert ms.amihud_illiquidity(price[:1], quantity[:1], span=2).size == 0


def test_wrong_trades_are_refused() -> None:
    with pytest.raises(BadData, match="every array"):
        ms.kyle_lambda(np.ones(3), np.ones(4), np.ones(3, bool))
    with pytest.raises(BadData, match="quarantine"):
        ms.volume_synchronised_imbalance(np.array([1.0, -1.0]), np.ones(2, bool), bucket=1)
    with pytest.raises(ValueError, match="positive bucket"):
        ms.volume_synchronised_imbalance(np.ones(2), np.ones(2, bool), bucket=0)
