"""The REST protocol: answers, errors, weights."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autotrader.apps.exchange import weights as weights_module
from autotrader.apps.exchange.klines import epoch_ms
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.apps.exchange.weights import WeightMeter

from .conftest import MARKET_END, Get, ask

AGES = 10_000_000_000.0  # a window that does not end while a test runs


def test_ping_and_time_answer(get: Get) -> None:
    assert get("ping")[:2] == (200, {})
    assert get("time")[:2] == (200, {"serverTime": epoch_ms(MARKET_END)})


def test_klines_are_the_newest_500_by_default(get: Get) -> None:
    status, rows, _ = get("klines?symbol=BTCUSDT&interval=1m")
    assert status == 200
    assert len(rows) == 500
    assert rows[-1][0] == epoch_ms(MARKET_END) - 60_000


def test_no_page_holds_more_than_1000(get: Get) -> None:
    assert len(get("klines?symbol=BTCUSDT&interval=1m&limit=1500")[1]) == 1000


def test_times_may_be_microseconds(get: Get) -> None:
    start = epoch_ms(MARKET_END - timedelta(minutes=3))
    in_ms = get(f"klines?symbol=BTCUSDT&interval=1m&startTime={start}")[1]
    assert in_ms == get(f"klines?symbol=BTCUSDT&interval=1m&startTime={start * 1000}")[1]
    assert len(in_ms) == 3


def test_a_reversed_window_is_empty(get: Get) -> None:
    end = epoch_ms(MARKET_END)
    assert get(f"klines?symbol=BTCUSDT&interval=1m&startTime={end}&endTime={end - 10**6}")[:2] == (200, [])


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("klines?symbol=NOSUCH&interval=1m", -1121),
        ("klines?symbol=btcusdt&interval=1m", -1100),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("klines?symbol=BTCUSDT", -1102),
        ("klines?interval=1m", -1102),
        ("klines?symbol=BTCUSDT&interval=1m&limit=ten", -1100),
        ("klines?symbol=BTCUSDT&interval=1m&start=5", -1104),
        ("exchangeInfo?symbol=NOSUCH", -1121),
        ("exchangeInfo?symbols=%5B%22BTCUSDT%22,%22NOSUCH%22%5D", -1121),
    ],
)
def test_mistakes_get_the_venues_own_error(get: Get, path: str, code: int) -> None:
    status, body, _ = get(path)
    assert (status, body["code"]) == (400, code)
    assert body["msg"]


def test_exchange_info_tells_symbols_steps_and_limits(get: Get, market: SimulatedMarket) -> None:
    _, body, _ = get("exchangeInfo")
    assert [s["symbol"] for s in body["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    bitcoin = body["symbols"][0]
    assert (bitcoin["baseAsset"], bitcoin["quoteAsset"], bitcoin["status"]) == ("BTC", "USDT", "TRADING")
    filters = {f["filterType"]: f for f in bitcoin["filters"]}
    tick, lot = market.steps("BTCUSDT")
    assert float(filters["PRICE_FILTER"]["tickSize"]) == pytest.approx(tick)
    assert float(filters["LOT_SIZE"]["stepSize"]) == pytest.approx(lot)
    assert body["rateLimits"][0]["limit"] == 6000


def test_each_answer_tells_the_weight_used(market: SimulatedMarket) -> None:
    paths = ("ping", "exchangeInfo", "klines?symbol=BTCUSDT&interval=1m")
    with running(StandInExchange(market, weights=WeightMeter(window_seconds=AGES))) as exchange:
        used = [int(ask(f"{exchange.rest_url}/api/v3/{path}")[2]["x-mbx-used-weight-1m"]) for path in paths]
    assert used == [1, 21, 23]


def test_who_uses_too_much_is_throttled_and_who_goes_on_is_banned(market: SimulatedMarket) -> None:
    weights = WeightMeter(limit=2, violations_before_ban=2, ban_seconds=180, window_seconds=AGES)
    with running(StandInExchange(market, weights=weights)) as exchange:
        answers = [ask(f"{exchange.rest_url}/api/v3/ping") for _ in range(6)]
    assert [status for status, _, _ in answers] == [200, 200, 429, 429, 418, 418]
    assert {body["code"] for _, body, _ in answers[2:]} == {-1003}
    assert 0 < int(answers[2][2]["retry-after"]) <= AGES
    assert int(answers[4][2]["retry-after"]) == 180
    assert "IP banned until" in answers[4][1]["msg"]


def test_a_new_minute_is_a_new_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_700_000_000.0]
    monkeypatch.setattr(weights_module.time, "time", lambda: now[0])
    meter = WeightMeter(limit=1, violations_before_ban=1, ban_seconds=120)
    assert meter.charge(1) is None
    refusal = meter.charge(1)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_seconds) == (429, 40)  # 20 s into the minute
    now[0] += 40
    assert meter.charge(1) is None
    assert [meter.charge(1).status for _ in range(2)] == [429, 418]  # type: ignore[union-attr]
    now[0] += 119
    assert meter.charge(1) is not None
    now[0] += 2
    assert meter.charge(1) is None
