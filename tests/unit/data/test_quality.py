"""Which rows are refused, and what is thought of a load."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.data.calendars import expected_opens
from autotrader.data.quality import (
    REFUSALS,
    Asked,
    check_page,
    missing_finding,
    order_finding,
    refused_findings,
    series_findings,
)
from autotrader.data.schemas import DECODED_BARS
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.domain.thresholds import DATA_QUALITY
from autotrader.domain.verdicts import Severity
from tests import real_data
from tests.fakes.market_data import made_bars
from tests.unit.data.frames import MINUTE, START

END = START + 60 * MINUTE
ASKED = Asked(Venue.BINANCE, "BTCUSDT", Interval.M1, START, END, market_time=END + MINUTE)
AT = pl.int_range(pl.len())


@pytest.fixture
def rows() -> pl.DataFrame:
    return made_bars(Venue.BINANCE, "BTCUSDT", START, END)


def spoilt(rows: pl.DataFrame, **columns: object) -> pl.DataFrame:
    """The rows with row 30 changed."""
    return rows.with_columns(
        pl.when(AT == 30)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value))
        .otherwise(pl.col(c))
        .alias(c)
        for c, value in columns.items()
    )


def test_good_rows_all_pass_in_order_of_time(rows: pl.DataFrame) -> None:
    checked = check_page(rows, ASKED)
    assert_frame_equal(checked.clean, rows)
    assert checked.refused.is_empty()
    assert checked.refused.columns == ["row", *DECODED_BARS, "reason"]
    assert checked.in_order


def test_an_empty_page_passes(rows: pl.DataFrame) -> None:
    checked = check_page(rows.clear(), ASKED)
    assert (checked.clean.height, checked.refused.height, checked.in_order) == (0, 0, True)


BAD = {
    "identity": {"instrument": "ETHUSDT"},
    "ts_missing": {"ts": pl.lit(None, DECODED_BARS["ts"])},
    "ts_off_grid": {"ts": pl.col("ts") + timedelta(seconds=1)},
    "ts_outside_page": {"ts": pl.col("ts") + timedelta(hours=-2)},
    "not_closed": {"ts": pl.col("ts") + timedelta(minutes=31)},
    "not_a_number": {"close": float("nan")},
    "price_not_positive": {"low": 0.0},
    "amount_negative": {"volume": -1.0},
    "ohlc_order": {"low": pl.col("high") + 0.1},
    "reach": {"low": pl.col("low") / 100},
}


@pytest.mark.parametrize(("reason", "columns"), BAD.items(), ids=BAD)
def test_a_row_that_is_bad_by_itself_is_refused_with_the_reason(
    rows: pl.DataFrame, reason: str, columns: dict[str, object]
) -> None:
    checked = check_page(spoilt(rows, **columns), ASKED)
    assert checked.refused["row"].to_list() == [30]
    assert reason in checked.refused["reason"][0].split(",")
    assert_frame_equal(checked.clean, rows.filter(AT != 30))
    identity = checked.refused.select("venue", "instrument", "interval").row(0)
    assert identity == ("binance", "BTCUSDT", "1m")
    assert checked.refused["ts"].null_count() == 0


@pytest.mark.parametrize("value", [None, float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_a_price_that_is_no_number_is_refused(rows: pl.DataFrame, column: str, value: float | None) -> None:
    checked = check_page(spoilt(rows, **{column: pl.lit(value, pl.Float64)}), ASKED)
    assert checked.refused["row"].to_list() == [30]
    assert "not_a_number" in checked.refused["reason"][0]


@pytest.mark.parametrize("column", ["volume", "quote_volume", "trade_count", "taker_buy_base", "spread"])
def test_a_venue_may_have_no_amounts(rows: pl.DataFrame, column: str) -> None:
    assert check_page(
        rows.with_columns(pl.lit(None, DECODED_BARS[column]).alias(column)), ASKED
    ).refused.is_empty()


def test_of_equal_doubles_the_first_stays(rows: pl.DataFrame) -> None:
    checked = check_page(pl.concat([rows[:31], rows[30:31], rows[31:]]), ASKED)
    assert checked.refused.select("row", "reason").rows() == [(31, "duplicate")]
    assert_frame_equal(checked.clean, rows)


def test_of_doubles_that_differ_none_stays(rows: pl.DataFrame) -> None:
    other = rows[30:31].with_columns(pl.col("volume") + 1)
    checked = check_page(pl.concat([rows, other]), ASKED)
    assert checked.refused.select("row", "reason").rows() == [
        (30, "conflicting_duplicate"),
        (60, "conflicting_duplicate"),
    ]
    assert_frame_equal(checked.clean, rows.filter(AT != 30))


def scaled(factor: float) -> dict[str, pl.Expr]:
    return {c: pl.col(c) * factor for c in ("open", "high", "low", "close")}


@pytest.mark.parametrize("factor", [0.5, 1.2, 10.0])
def test_a_price_that_leaves_and_comes_back_is_a_spike(rows: pl.DataFrame, factor: float) -> None:
    checked = check_page(spoilt(rows, **scaled(factor)), ASKED)
    assert checked.refused.select("row", "reason").rows() == [(30, "spike")]


def test_a_move_that_stays_is_kept_and_reported_as_a_jump(rows: pl.DataFrame) -> None:
    split = rows.with_columns(
        pl.when(AT >= 30).then(pl.col(c) / 7).otherwise(c).alias(c) for c in ("open", "high", "low", "close")
    )
    assert check_page(split, ASKED).refused.is_empty()
    (jump,) = [f for f in series_findings("BTCUSDT", split) if f.check == "jump"]
    assert jump.severity is Severity.WARNING
    assert jump.evidence == {"count": 1, "at": [rows["ts"][30].isoformat()]}


def test_refusing_a_row_does_not_depend_on_how_the_venue_ordered_the_page(rows: pl.DataFrame) -> None:
    bad = spoilt(rows, **scaled(3.0))
    sorted_page, shuffled = (
        check_page(bad, ASKED),
        check_page(bad.sample(fraction=1, shuffle=True, seed=1), ASKED),
    )
    assert not shuffled.in_order
    assert_frame_equal(shuffled.clean, sorted_page.clean)
    assert_frame_equal(shuffled.refused.drop("row"), sorted_page.refused.drop("row"))


def test_every_reason_has_a_test() -> None:
    assert set(REFUSALS) == {*BAD, "duplicate", "conflicting_duplicate", "spike"}


@pytest.mark.parametrize(
    ("missing", "severity"),
    [
        (0, Severity.HEALTHY),
        (5, Severity.HEALTHY),
        (6, Severity.WARNING),
        (10, Severity.WARNING),
        (11, Severity.CRITICAL),
    ],
)
def test_more_than_five_percent_missing_warns_and_more_than_ten_is_critical(
    missing: int, severity: Severity
) -> None:
    rows = made_bars(Venue.BINANCE, "BTCUSDT", START, START + 100 * MINUTE)
    expected = expected_opens(Venue.BINANCE, Interval.M1, START, START + 100 * MINUTE)
    found = missing_finding("BTCUSDT", expected, rows["ts"][missing:])
    assert (found.severity, found.evidence["missing"]) == (severity, missing)


def test_nothing_is_missing_where_nothing_is_expected() -> None:
    nothing = np.empty(0, "datetime64[us]")
    found = missing_finding("EUR_USD", nothing, pl.Series("ts", [], DECODED_BARS["ts"]))
    assert found.severity is Severity.HEALTHY


def test_a_long_run_without_trades_warns(rows: pl.DataFrame) -> None:
    hour = pl.concat([rows, made_bars(Venue.BINANCE, "BTCUSDT", END, END + 60 * MINUTE)])
    still = hour.with_columns(
        *(
            pl.when(AT > 20).then(pl.lit(99.0)).otherwise(c).alias(c)
            for c in ("open", "high", "low", "close")
        ),
        volume=pl.when(AT > 20).then(0.0).otherwise("volume"),
    )
    (stale,) = [f for f in series_findings("BTCUSDT", still) if f.check == "stale_run"]
    assert stale.severity is Severity.WARNING
    assert stale.evidence["bars"] == 98


def test_any_refused_row_warns_and_more_than_five_percent_is_critical(rows: pl.DataFrame) -> None:
    refused = check_page(spoilt(rows, low=-1.0), ASKED).refused
    assert [f.severity for f in refused_findings("BTCUSDT", refused, 60)] == [Severity.WARNING]
    assert [f.severity for f in refused_findings("BTCUSDT", refused, 10)] == [Severity.CRITICAL]
    assert [f.severity for f in refused_findings("BTCUSDT", refused.clear(), 10)] == [Severity.HEALTHY]


def test_pages_out_of_order_warn() -> None:
    assert order_finding("BTCUSDT", 0).severity is Severity.HEALTHY
    assert order_finding("BTCUSDT", 2).severity is Severity.WARNING


# ------------------------------------------------------------------------------ recorded data


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ARBUSDT"])
def test_recorded_crypto_days_are_clean(symbol: str) -> None:
    recorded = real_data.bars(symbol, days=10)
    rows = recorded.with_columns(instrument=pl.lit(symbol)).select(
        [pl.col(c).cast(t) for c, t in DECODED_BARS.items()]
    )
    start, end = rows["ts"][0], rows["ts"][-1] + MINUTE
    checked = check_page(rows, Asked(Venue.BINANCE, symbol, Interval.M1, start, end, end))
    assert checked.refused.is_empty()
    findings = series_findings(symbol, checked.clean)
    missing = missing_finding(symbol, expected_opens(Venue.BINANCE, Interval.M1, start, end), rows["ts"])
    assert {f.severity for f in (*findings, missing)} == {Severity.HEALTHY}


def recorded_daily(symbol: str) -> pl.DataFrame:
    (path,) = (real_data.folder() / "equity").glob(f"{symbol}_1d*.parquet")
    recorded = pl.read_parquet(path).with_columns(
        pl.col("ts").cast(DECODED_BARS["ts"]),
        venue=pl.lit("ibkr"),
        interval=pl.lit("1d"),
        instrument=pl.lit(symbol),
        trade_count=pl.lit(None, pl.Int64),
        spread=pl.lit(None, pl.Float64),
    )
    return recorded.select([pl.col(c).cast(t) for c, t in DECODED_BARS.items()]).sort("ts")


def test_the_recorded_low_of_a_cent_is_refused() -> None:
    rows = recorded_daily("GOOG")
    now = datetime(2024, 1, 1, tzinfo=UTC)
    asked = Asked(Venue.IBKR, "GOOG", Interval.D1, rows["ts"][0], now, now)
    refused = check_page(rows, asked).refused
    assert refused.filter(pl.col("low") == 0.01).height == 1
    assert refused.filter(pl.col("low") == 0.01)["reason"].to_list() == ["reach"]


def test_the_recorded_split_is_a_jump_and_kept() -> None:
    rows = recorded_daily("AAPL")
    now = datetime(2024, 1, 1, tzinfo=UTC)
    checked = check_page(rows, Asked(Venue.IBKR, "AAPL", Interval.D1, rows["ts"][0], now, now))
    moves = checked.clean.select("ts", (pl.col("close") / pl.col("close").shift(1)).log().abs().alias("m"))
    split = moves.filter(pl.col("ts").dt.date() == datetime(2014, 6, 9).date())  # noqa: DTZ001
    assert split["m"][0] > 1.5
    assert DATA_QUALITY.spike_floor < 1.5
