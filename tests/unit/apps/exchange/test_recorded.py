"""Recorded bars, found and read in place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from autotrader.apps.exchange.market import CANDLES
from autotrader.apps.exchange.recorded import RecordedMarket
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.domain.errors import BadData, NotFound
from tests import real_data


@pytest.fixture
def bars(market: SimulatedMarket) -> pl.DataFrame:
    return market.candles("BTCUSDT")


def record(path: Path, bars: pl.DataFrame, **labels: str) -> None:
    named = {"instrument": "BTCUSDT", "venue": "BINANCE_SPOT", "interval": "1m"} | labels
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: pl.lit(value) for name, value in named.items()}
    bars.rename({"trade_count": "trades"}).with_columns(**columns).write_parquet(path)


def test_bars_come_back_as_they_were_recorded(tmp_path: Path, bars: pl.DataFrame) -> None:
    record(tmp_path / "deep/down/a.parquet", bars)
    market = RecordedMarket(tmp_path)
    assert market.symbols == ("BTCUSDT",)
    assert market.candles("BTCUSDT").equals(bars.select(list(CANDLES)))
    assert (market.start, market.end) == (bars["ts"][0], bars["ts"][-1] + timedelta(minutes=1))


def test_files_of_one_symbol_are_joined_and_the_later_name_stands(tmp_path: Path, bars: pl.DataFrame) -> None:
    corrected = bars.slice(90, 100).with_columns(close=pl.col("close") + 1)
    record(tmp_path / "2.parquet", corrected)
    record(tmp_path / "1.parquet", bars.head(100))
    joined = RecordedMarket(tmp_path).candles("BTCUSDT")
    assert joined.equals(pl.concat([bars.head(90), corrected]).select(list(CANDLES)))


@pytest.mark.parametrize("label", [{"venue": "BINANCE_UM_FUTURES"}, {"venue": "OANDA"}, {"interval": "1h"}])
def test_other_files_are_passed_over(tmp_path: Path, bars: pl.DataFrame, label: dict[str, str]) -> None:
    record(tmp_path / "spot.parquet", bars)
    record(tmp_path / "other.parquet", bars, instrument="OTHER", **label)
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "unrelated.parquet")
    assert RecordedMarket(tmp_path).symbols == ("BTCUSDT",)


def test_a_folder_without_bars_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Binance spot"):
        RecordedMarket(tmp_path)


def test_a_corrupt_file_is_named(tmp_path: Path, bars: pl.DataFrame) -> None:
    record(tmp_path / "good.parquet", bars)
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:-100])
    with pytest.raises(BadData, match=r"torn\.parquet"):
        RecordedMarket(tmp_path)


def test_a_missing_value_is_not_made_up(tmp_path: Path, bars: pl.DataFrame) -> None:
    record(tmp_path / "a.parquet", bars.with_columns(taker_buy_base=pl.lit(None, pl.Float64)))
    with pytest.raises(BadData, match="taker_buy_base"):
        RecordedMarket(tmp_path).candles("BTCUSDT")


def test_an_unknown_symbol_is_not_found(tmp_path: Path, bars: pl.DataFrame) -> None:
    record(tmp_path / "a.parquet", bars)
    with pytest.raises(NotFound, match="NOSUCH"):
        RecordedMarket(tmp_path).candles("NOSUCH")


def test_steps_are_those_that_the_bars_show(
    tmp_path: Path, bars: pl.DataFrame, market: SimulatedMarket
) -> None:
    record(tmp_path / "a.parquet", bars)
    assert RecordedMarket(tmp_path).steps("BTCUSDT") == pytest.approx(market.steps("BTCUSDT"))


def test_the_recorded_spot_pairs_are_found_among_other_data() -> None:
    market = RecordedMarket(real_data.folder())
    assert {"ARBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT"} <= set(market.symbols)
    assert "FILUSDT" not in market.symbols
    assert market.steps("BTCUSDT") == (0.01, 0.00001)
