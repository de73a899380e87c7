import math
from dataclasses import fields
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.config.settings import LabelKind, LabelSettings, StrategySettings
from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats, Times
from autotrader.execution.labels import (
    Labels,
    forward_return_labels,
    strategy_labels,
    trailing_volatility,
    triple_barrier_labels,
)

START = np.datetime64("2024-02-01T00:00", "us")
MINUTE = np.timedelta64(1, "m")
FIVE = timedelta(minutes=5)


def at(minutes: list[int] | range) -> Times:
    return START + np.array(minutes) * MINUTE


def forward(minutes: list[int] | range, close: list[float], *, bps: float = 0.0) -> Labels:
    return forward_return_labels(at(minutes), np.array(close), horizon=FIVE, round_trip_cost_bps=bps)


def holed_walk(seed: int, n: int = 120) -> tuple[Times, Floats]:
    rng = np.random.default_rng(seed)
    minutes = np.sort(rng.choice(np.arange(int(n * 1.3)), n, replace=False))
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, n)))
    close[rng.random(n) < 0.03] = np.nan
    return START + minutes * MINUTE, close


def test_a_label_compares_the_close_with_that_of_the_bar_a_horizon_later() -> None:
    labels = forward(range(7), [100, 1, 1, 1, 1, 101, 2])
    assert labels.forward_return[:2].tolist() == pytest.approx([0.01, 1.0])
    assert labels.label[:2].tolist() == [1, 1]
    assert labels.valid.tolist() == [True, True, False, False, False, False, False]


def test_a_label_is_known_when_the_exit_bar_has_closed() -> None:
    assert forward(range(6), [100] * 6).end_ts[0] == START + 6 * MINUTE


def test_a_row_without_a_full_horizon_has_no_label() -> None:
    labels = forward(range(5), [100] * 5)
    assert not labels.valid.any()
    assert np.isnan(labels.forward_return).all()
    assert np.isnat(labels.end_ts).all()


def test_a_gap_at_the_horizon_s_end_leaves_no_label_though_later_rows_exist() -> None:
    assert forward([0, 1, 2, 3, 4, 6, 7, 8], [100] * 8).valid.tolist() == [
        False,
        True,
        True,
        True,
        *[False] * 4,
    ]


def test_a_gap_inside_the_horizon_does_no_harm() -> None:
    labels = forward([0, 1, 5], [100, 100, 102])
    assert labels.valid[0]
    assert labels.forward_return[0] == pytest.approx(0.02)


@pytest.mark.parametrize(("final", "label"), [(100.09, 0), (100.11, 1), (99.91, 0), (99.89, -1), (100.0, 0)])
def test_a_move_within_the_costs_of_a_round_trip_is_no_move(final: float, label: int) -> None:
    labels = forward(range(6), [100, 0, 0, 0, 0, final], bps=10)
    assert labels.valid[0]
    assert labels.label[0] == label


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan])
def test_a_row_without_a_price_has_no_label_and_ends_none(price: float) -> None:
    assert forward([0, 5, 10], [100, price, 100]).valid.tolist() == [False, False, False]


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), horizon=st.integers(1, 30), bps=st.floats(0, 30))
def test_labels_agree_with_looking_each_one_up(seed: int, horizon: int, bps: float) -> None:
    ts, close = holed_walk(seed)
    labels = forward_return_labels(ts, close, horizon=timedelta(minutes=horizon), round_trip_cost_bps=bps)
    price = dict(zip(ts.tolist(), close.tolist(), strict=True))
    for i, opened in enumerate(ts.tolist()):
        exit_price = price.get(opened + timedelta(minutes=horizon), math.nan)
        gain = exit_price / price[opened] - 1
        assert labels.valid[i] == (not math.isnan(gain))
        if labels.valid[i]:
            assert labels.forward_return[i] == pytest.approx(gain, abs=1e-15)
            net_long, net_short = gain - bps / 10_000, -gain - bps / 10_000
            assert labels.label[i] == (net_long > 0) - (net_short > 0)
            assert labels.end_ts[i].item() == opened + timedelta(minutes=horizon + 1)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), cut=st.integers(5, 119))
def test_a_label_needs_nothing_beyond_the_instant_at_which_it_is_known(seed: int, cut: int) -> None:
    ts, close = holed_walk(seed)
    volatility = np.full(len(ts), 0.0005)
    pairs = [
        [
            forward_return_labels(ts[:n], close[:n], horizon=FIVE, round_trip_cost_bps=3)
            for n in (len(ts), cut)
        ],
        [barriers(ts[:n], close[:n], volatility[:n], bps=3) for n in (len(ts), cut)],
    ]
    for whole, part in pairs:
        known = whole.valid[:cut] & (whole.end_ts[:cut] <= ts[cut - 1] + MINUTE)
        assert np.array_equal(part.valid, known)
        for field in fields(Labels):
            assert np.array_equal(getattr(part, field.name)[known], getattr(whole, field.name)[:cut][known])


def barriers(
    ts: Times, close: Floats, volatility: Floats, *, up: float = 1.0, down: float = 1.0, bps: float = 0.0
) -> Labels:
    return triple_barrier_labels(
        ts,
        close,
        volatility,
        horizon=FIVE,
        profit_multiple=up,
        stop_multiple=down,
        round_trip_cost_bps=bps,
    )


def small_barriers(close: list[float], **given: float) -> Labels:
    # Barriers lie one percent away: 0.01 over the horizon of five bars.
    volatility = np.full(len(close), 0.01 / math.sqrt(5))
    return barriers(at(range(len(close))), np.array(close), volatility, **given)


def test_the_first_barrier_touched_ends_the_label() -> None:
    labels = small_barriers([100, 100.5, 101.2, 98, 100, 100])
    assert labels.forward_return[0] == pytest.approx(0.012)
    assert labels.label[0] == 1
    assert labels.end_ts[0] == START + 3 * MINUTE


def test_the_stop_counts_as_the_profit_does() -> None:
    labels = small_barriers([100, 98.5, 102, 102, 102, 102])
    assert labels.label[0] == -1
    assert labels.end_ts[0] == START + 2 * MINUTE


def test_without_a_touch_the_horizon_ends_the_label() -> None:
    labels = small_barriers([100, 100, 100, 100, 100, 100.4])
    assert labels.forward_return[0] == pytest.approx(0.004)
    assert labels.end_ts[0] == START + 6 * MINUTE


def test_a_stop_further_off_is_touched_later() -> None:
    assert small_barriers([100, 98.5, 100, 100, 100, 100], down=2.0).label[0] == 0


def test_a_barrier_within_the_costs_earns_nothing() -> None:
    assert small_barriers([100, 101.1, 100, 100, 100, 100], bps=150).label[0] == 0


@pytest.mark.parametrize("unknown", [math.nan, 0.0, math.inf])
def test_without_a_volatility_there_is_no_barrier_and_no_label(unknown: float) -> None:
    assert not barriers(at(range(8)), np.full(8, 100.0), np.full(8, unknown)).valid.any()


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_barriers_out_of_reach_give_the_forward_return(seed: int) -> None:
    ts, close = holed_walk(seed)
    far = barriers(ts, close, np.full(len(ts), 0.001), up=math.inf, down=math.inf, bps=3)
    forward_labels = forward_return_labels(ts, close, horizon=FIVE, round_trip_cost_bps=3)
    for field in fields(Labels):
        assert np.array_equal(
            getattr(far, field.name), getattr(forward_labels, field.name), equal_nan=field.name != "label"
        )


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), up=st.floats(0.2, 4), down=st.floats(0.2, 4))
def test_barrier_labels_agree_with_walking_each_path(seed: int, up: float, down: float) -> None:
    ts, close = holed_walk(seed)
    sigma = 0.001
    labels = barriers(ts, close, np.full(len(ts), sigma), up=up, down=down)
    width = sigma * math.sqrt(5)
    for i in range(len(ts)):
        expected = None
        for j in range(i + 1, len(ts)):
            if ts[j] > ts[i] + 5 * MINUTE or math.isnan(close[i]):
                break
            gain = close[j] / close[i] - 1
            if gain >= up * width or gain <= -down * width or ts[j] == ts[i] + 5 * MINUTE:
                expected = gain if not math.isnan(gain) else None
                break
        assert labels.valid[i] == (expected is not None)
        if expected is not None:
            assert labels.forward_return[i] == pytest.approx(expected, abs=1e-15)


def test_what_cannot_be_labelled_is_refused() -> None:
    ts, close = at(range(3)), np.full(3, 100.0)
    with pytest.raises(BadData, match="horizon above zero"):
        forward_return_labels(ts, close, horizon=timedelta(0), round_trip_cost_bps=0)
    with pytest.raises(BadData, match="costs of 0 or more"):
        forward_return_labels(ts, close, horizon=FIVE, round_trip_cost_bps=-1)
    with pytest.raises(BadData, match="expected close for each of 3 bars"):
        forward_return_labels(ts, close[:2], horizon=FIVE, round_trip_cost_bps=0)
    with pytest.raises(BadData, match="strictly increasing"):
        forward_return_labels(ts[::-1], close, horizon=FIVE, round_trip_cost_bps=0)
    with pytest.raises(BadData, match="profit_multiple above zero"):
        barriers(ts, close, close, up=0.0)


def test_no_bars_have_no_labels() -> None:
    assert len(forward([], []).label) == 0
    assert forward([0], [100]).valid.tolist() == [False]


def test_a_trailing_volatility_is_that_of_the_last_returns_alone() -> None:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 40)))
    close[20] = math.nan
    found = trailing_volatility(close, 5)
    returns = close[1:] / close[:-1] - 1
    for row in range(len(close)):
        window = returns[max(row - 5, 0) : row]
        expected = np.std(window, ddof=1) if len(window) == 5 else math.nan
        assert found[row] == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert np.isnan(found[20:26]).all()
    assert np.isfinite(found[26:]).all()
    assert np.array_equal(found[27:], trailing_volatility(close[22:], 5)[5:])


def of_settings(labels: LabelSettings, ts: Times, close: Floats) -> Labels:
    strategy = StrategySettings(horizon_minutes=5, round_trip_cost_bps=3, labels=labels)
    return strategy_labels(ts, close, strategy=strategy)


def test_the_settings_choose_the_kind_of_label() -> None:
    ts, close = holed_walk(5)
    barrier = LabelSettings(
        kind=LabelKind.TRIPLE_BARRIER, profit_multiple=0.5, stop_multiple=1.5, volatility_span_bars=20
    )
    volatility = trailing_volatility(close, 20)
    pairs = [
        (
            of_settings(LabelSettings(), ts, close),
            forward_return_labels(ts, close, horizon=FIVE, round_trip_cost_bps=3),
        ),
        (of_settings(barrier, ts, close), barriers(ts, close, volatility, up=0.5, down=1.5, bps=3)),
    ]
    for chosen, expected in pairs:
        assert chosen.valid.any()
        for field in fields(Labels):
            one, other = getattr(chosen, field.name), getattr(expected, field.name)
            assert np.array_equal(one, other, equal_nan=field.name != "label")
    assert not np.array_equal(pairs[0][0].end_ts, pairs[1][0].end_ts, equal_nan=True)


def test_rules_are_equal_where_labels_are() -> None:
    wide = LabelSettings(profit_multiple=3.0)
    assert wide.rule == LabelSettings().rule == "forward_return"
    barrier = LabelSettings(kind=LabelKind.TRIPLE_BARRIER)
    assert barrier.rule == "triple_barrier, profit 1.0, stop 1.0, volatility of 200 bars"
    assert barrier.rule != barrier.model_copy(update={"stop_multiple": 1.0000001}).rule
