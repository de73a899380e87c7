"""The broker where the venue is peculiar; what all brokers do is in the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from autotrader.adapters.clocks import SystemWallClock
from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws import account_client, broker, trade_history
from autotrader.connectors.binance_ws.broker import BinanceBroker
from autotrader.domain.errors import (
    ConfigurationError,
    Refused,
    Rejected,
    Throttled,
    Unreachable,
)
from autotrader.domain.orders import Order, OrderStatus, OrderType, Side, client_order_id
from autotrader.ports.broker import Update
from autotrader.ports.clock import WallClock
from tests.brokers.binance import BinanceHarness, harness, settings_of
from tests.fakes.clocks import SettableClock

CASH = Decimal(100_000)
WALL = SystemWallClock()
KEYS = {"api_key": SecretStr("key"), "api_secret": SecretStr("secret")}
LIVE = "https://api.binance.com", "wss://ws-api.binance.com:443/ws-api/v3"
TEST_NET = "https://testnet.binance.vision", "wss://ws-api.testnet.binance.vision/ws-api/v3"
LOOPBACK = "http://127.0.0.1:1", "ws://localhost:1/ws-api/v3"


@pytest.fixture
async def venue() -> AsyncIterator[BinanceHarness]:
    async with harness(CASH) as venue:
        assert isinstance(venue, BinanceHarness)
        yield venue


def order(venue: BinanceHarness, name: str = "first", limit: Decimal | None = Decimal(90)) -> Order:
    now = venue.now()
    return Order(
        account="main",
        client_order_id=client_order_id("main", "s", venue.instrument, now, name),
        strategy_id="s",
        instrument=venue.instrument,
        side=Side.BUY,
        quantity=venue.quantity,
        type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        limit_price=limit,
        reference_price=venue.price,
        reduces=False,
        decided_at=now,
        valid_until=now + timedelta(minutes=1),
        recorded_at=now,
        reason="",
    )


def opened(venue: BinanceHarness, clock: WallClock = WALL, **given: object) -> BinanceBroker:
    return BinanceBroker(settings_of(venue.exchange, **given), clock, account="main", live=False)


# Whether it may


@pytest.mark.parametrize(("urls", "live"), [(LIVE, True), (TEST_NET, False), (LOOPBACK, False)])
def test_orders_go_to_play_or_where_somebody_switched_them_on(urls: tuple[str, str], live: bool) -> None:
    BinanceBroker(
        BinanceSettings(rest_url=urls[0], account_stream_url=urls[1], **KEYS),
        WALL,
        account="main",
        live=live,
    )


@pytest.mark.parametrize(
    "urls",
    [
        LIVE,
        ("https://api.binance.us", LIVE[1]),
        ("https://testnet.binance.vision.example.com", LIVE[1]),
        ("http://127.0.0.1.example.com", LIVE[1]),
    ],
)
def test_orders_that_cost_money_need_the_switch(urls: tuple[str, str]) -> None:
    settings = BinanceSettings(rest_url=urls[0], account_stream_url=urls[1], **KEYS)
    with pytest.raises(Refused, match="AUTOTRADER_TRADING__LIVE=true"):
        BinanceBroker(settings, WALL, account="main", live=False)


@pytest.mark.parametrize("live", [True, False])
def test_orders_and_their_news_are_of_one_world(live: bool) -> None:
    settings = BinanceSettings(rest_url=LOOPBACK[0], account_stream_url=LIVE[1], **KEYS)
    with pytest.raises(ConfigurationError, match="ACCOUNT_STREAM_URL"):
        BinanceBroker(settings, WALL, account="main", live=live)


def test_without_a_key_there_is_no_broker() -> None:
    settings = BinanceSettings(rest_url=LOOPBACK[0], account_stream_url=LOOPBACK[1])
    with pytest.raises(ConfigurationError, match="API_KEY"):
        BinanceBroker(settings, WALL, account="main", live=False)


async def test_a_key_that_the_venue_does_not_take_is_rejected(venue: BinanceHarness) -> None:
    async with opened(venue, api_secret=SecretStr("another")) as broker:
        with pytest.raises(Rejected, match="-1022"):
            await broker.account([venue.instrument])
        with pytest.raises(Rejected, match="-1022"):
            await anext(broker.updates())


# Time


async def test_a_clock_that_moved_is_set_right_and_said(venue: BinanceHarness) -> None:
    venue.exchange.clock.set(speed=1.0)
    async with opened(venue, recv_window_ms=3_000) as broker:
        await broker.open_orders()
        venue.exchange.advance(timedelta(seconds=30))
        with capture_logs() as lines:
            assert (await broker.submit(order(venue))).status is OrderStatus.OPEN
        (moved,) = [line for line in lines if "clock" in line["event"]]
        assert moved["offset_ms"] - moved["before_ms"] == pytest.approx(30_000, abs=10_000)
        assert len(await broker.open_orders()) == 1


async def test_requests_are_valid_for_as_long_as_the_settings_say(venue: BinanceHarness) -> None:
    """The library writes a window of its own over the one that it is given."""
    async with opened(venue, recv_window_ms=100) as broker:
        await broker.open_orders()
        venue.exchange.advance(timedelta(seconds=1))
        with capture_logs() as lines:
            await broker.open_orders()
        assert [line for line in lines if "clock" in line["event"]]


async def test_a_venue_whose_time_runs_faster_still_takes_orders(venue: BinanceHarness) -> None:
    venue.exchange.clock.set(speed=120.0)
    async with opened(venue, recv_window_ms=3_000) as broker:
        await broker.submit(order(venue, "first"))
        venue.exchange.advance(timedelta(seconds=120 * 4))  # longer than a request is valid for
        await broker.submit(order(venue, "second"))
        assert len(await broker.open_orders()) == 2


# Orders


@pytest.mark.parametrize(
    "kind", [FaultKind.HTML, FaultKind.TRUNCATED, FaultKind.SERVER_ERROR, FaultKind.RESET]
)
async def test_whatever_hides_the_answer_the_order_is_there_once(
    venue: BinanceHarness, kind: FaultKind
) -> None:
    wanted = order(venue, limit=None)
    async with opened(venue) as broker:
        venue.exchange.faults.add(Fault(kind, path="order.place"))
        with pytest.raises(Unreachable):
            await broker.submit(wanted)
        assert (await broker.submit(wanted)).status is OrderStatus.FILLED
    assert len(venue.exchange.account.orders) == 1


async def test_nothing_is_sent_again_while_the_lost_request_may_still_arrive(venue: BinanceHarness) -> None:
    wanted = order(venue, limit=None)
    async with opened(venue, SettableClock(venue.now())) as broker:
        venue.exchange.faults.add(Fault(FaultKind.LOST, path="order.place"))
        with pytest.raises(Unreachable):
            await broker.submit(wanted)
        sent = venue.exchange.traffic.requests["order.place"]
        with pytest.raises(Unreachable, match="may still arrive"):
            await broker.submit(wanted)
        assert venue.exchange.traffic.requests["order.place"] == sent


async def test_a_submission_that_was_given_up_may_still_arrive(venue: BinanceHarness) -> None:
    wanted = order(venue, limit=None)
    async with opened(venue, SettableClock(venue.now())) as broker:
        await broker.open_orders()
        venue.exchange.faults.add(Fault(FaultKind.SLOW, path="order.place", seconds=60))
        submitting = asyncio.create_task(broker.submit(wanted))
        await until(lambda: venue.exchange.traffic.requests["order.place"] == 1)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        venue.exchange.faults.add(Fault(FaultKind.STALE, path="order.status"))
        with pytest.raises(Unreachable, match="may still arrive"):
            await broker.order(wanted)


async def test_the_same_order_from_two_hands_at_once_is_one_order(venue: BinanceHarness) -> None:
    wanted = order(venue, limit=None)
    async with opened(venue) as broker:
        first, second = await asyncio.gather(broker.submit(wanted), broker.submit(wanted))
    assert first == second
    assert len(venue.exchange.account.orders) == 1


async def test_an_order_that_is_on_its_way_is_not_said_to_be_missing(venue: BinanceHarness) -> None:
    wanted = order(venue, limit=None)
    async with opened(venue) as broker:
        await broker.open_orders()
        venue.exchange.faults.add(Fault(FaultKind.SLOW, path="order.place", seconds=1.0))
        submitting = asyncio.create_task(broker.submit(wanted))
        await until(lambda: venue.exchange.traffic.requests["order.place"] == 1)
        venue.exchange.faults.add(Fault(FaultKind.STALE, path="order.status"))
        with pytest.raises(Unreachable):
            await broker.order(wanted)
        assert (await submitting).status is OrderStatus.FILLED


async def test_a_duplicate_that_only_the_matching_engine_knew_is_found(venue: BinanceHarness) -> None:
    wanted = order(venue)
    async with opened(venue) as broker:
        first = await broker.submit(wanted)
        venue.exchange.faults.add(Fault(FaultKind.STALE, path="order.status"))
        assert await broker.submit(wanted) == first
        assert len(venue.exchange.account.orders) == 1


async def test_what_a_filter_does_not_let_through_is_rejected_in_the_venues_words(
    venue: BinanceHarness,
) -> None:
    async with opened(venue) as broker:
        with pytest.raises(Rejected, match="Filter failure: PRICE_FILTER"):
            await broker.submit(order(venue, limit=Decimal("90.001")))
        with pytest.raises(Rejected, match="insufficient balance"):
            await broker.submit(order(venue, limit=Decimal(200_000)))
        assert await broker.order(order(venue)) is None


@pytest.mark.parametrize("kind", [FaultKind.THROTTLED, FaultKind.BANNED])
async def test_after_a_plea_for_patience_nothing_is_sent_at_all(
    venue: BinanceHarness, kind: FaultKind
) -> None:
    async with opened(venue) as broker:
        await broker.open_orders()
        venue.exchange.faults.add(Fault(kind, path="order.status", seconds=30))
        for _ in range(2):
            with pytest.raises(Throttled) as plea:
                await broker.submit(order(venue))
            assert 20 < plea.value.retry_after_seconds <= 30
        assert venue.exchange.traffic.requests["order.status"] == 1
        assert venue.exchange.traffic.requests["order.place"] == 0


async def test_more_orders_than_the_venue_takes_are_not_sent(
    venue: BinanceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "ORDERS_IN_A_WINDOW", 3)
    monkeypatch.setattr(broker, "ORDER_WINDOW_SECONDS", 1e9)
    async with opened(venue) as trading:
        for name in ("one", "two"):
            await trading.submit(order(venue, name))
        with pytest.raises(Throttled):
            await trading.submit(order(venue, "three"))
        assert await trading.order(order(venue, "three")) is None


# The account


async def test_fills_are_paged_to_the_end(venue: BinanceHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (trade_history, account_client):
        monkeypatch.setattr(module, "TRADES_IN_A_PAGE", 2)
    async with opened(venue) as trading:
        for name in "abcde":
            await trading.submit(order(venue, name, limit=None))
        found = await trading.fills([venue.instrument], venue.now() - timedelta(hours=1))
    assert [fill.fill_id for fill in found] == ["1", "2", "3", "4", "5"]


async def test_whose_a_fill_was_is_known_after_a_restart(venue: BinanceHarness) -> None:
    wanted = order(venue, limit=None)
    async with opened(venue) as trading:
        await trading.submit(wanted)
    async with opened(venue) as restarted:
        for _ in range(2):
            (fill,) = await restarted.fills([venue.instrument], venue.now() - timedelta(hours=1))
            assert fill.client_order_id == wanted.client_order_id
    assert venue.exchange.traffic.requests["order.status"] == 2


async def test_an_asset_that_two_instruments_are_made_of_is_not_guessed_at(venue: BinanceHarness) -> None:
    async with opened(venue) as trading:
        with pytest.raises(ConfigurationError, match="one instrument"):
            await trading.account([venue.instrument, venue.instrument])


async def test_an_account_is_of_now_unless_it_is_older_than_a_trade_that_we_know(
    venue: BinanceHarness,
) -> None:
    async with opened(venue, recv_window_ms=3_000) as trading:
        await trading.submit(order(venue, limit=None))
        (fill,) = await trading.fills([venue.instrument], venue.now() - timedelta(hours=1))
        venue.exchange.clock.set(speed=1.0, now=venue.now() + timedelta(hours=1))
        with capture_logs():
            await trading.open_orders()
        account = await trading.account([venue.instrument])
        assert abs(account.at - fill.at - timedelta(hours=1)) < timedelta(minutes=1)
        venue.exchange.faults.add(Fault(FaultKind.STALE, path="account"))
        assert (await trading.account([venue.instrument])).at < fill.at


async def test_other_assets_are_cash(venue: BinanceHarness) -> None:
    async with opened(venue) as trading:
        await trading.submit(order(venue, limit=None))
        account = await trading.account([])
    assert set(account.cash) == {"USDT", "BTC"}
    assert account.positions == {}


async def test_a_closed_broker_says_so(venue: BinanceHarness) -> None:
    trading = opened(venue)
    with pytest.raises(ConfigurationError, match="closed"):
        await trading.open_orders()


# Updates


@contextlib.asynccontextmanager
async def hearing(trading: BinanceBroker, venue: BinanceHarness) -> AsyncIterator[list[Update]]:
    heard: list[Update] = []

    async def listen() -> None:
        async for update in trading.updates():
            heard.append(update)  # noqa: PERF401 - each as it comes

    task = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(60):
            await venue.listening()
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_message_that_cannot_be_read_is_a_gap(venue: BinanceHarness) -> None:
    async with opened(venue) as trading, hearing(trading, venue) as heard:
        venue.exchange.faults.add(Fault(FaultKind.TRUNCATED, path="user_stream"))
        await trading.submit(order(venue, "lost", limit=None))
        await until(lambda: trading.gaps == 1)
        await trading.submit(order(venue, "told", limit=None))
        await until(lambda: len(heard) >= 4)
    told = [update for update in heard if update.venue_order_id == "2"]
    assert len(told) == 3  # new, the trade, filled


async def test_a_limit_that_the_market_reaches_is_told_though_nobody_asks(venue: BinanceHarness) -> None:
    async with opened(venue) as trading, hearing(trading, venue) as heard:
        await trading.submit(order(venue, limit=Decimal("99.5")))
        await venue.trade(Decimal(99))
        await until(lambda: len(heard) == 3)
        assert heard[1].quantity == venue.quantity


async def test_a_subscription_out_of_its_time_is_made_again(venue: BinanceHarness) -> None:
    async with opened(venue) as trading:
        await trading.open_orders()
        venue.exchange.advance(timedelta(seconds=30))
        async with hearing(trading, venue):
            assert trading.gaps == 0
