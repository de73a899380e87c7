"""What is special of orders at OANDA; what every broker does is in `tests/contracts/test_broker.py`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import OandaSettings
from autotrader.connectors.oanda.broker import OandaBroker
from autotrader.domain.errors import ConfigurationError, Refused, Rejected, Unreachable
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side
from autotrader.ports.broker import Broker, VenueOrder
from tests.brokers.oanda import OandaHarness, harness
from tests.fakes.oanda_account import AccountFault

SOON = 60.0  # seconds, for what a stand-in does in milliseconds
EUR_USD, USD_JPY = (InstrumentId(Venue.OANDA, name) for name in ("EUR_USD", "USD_JPY"))


@pytest.fixture
async def venue() -> AsyncIterator[OandaHarness]:
    async with harness(Decimal(100_000)) as venue:
        yield venue


@pytest.fixture
async def broker(venue: OandaHarness) -> AsyncIterator[OandaBroker]:
    async with venue.broker() as broker:
        assert isinstance(broker, OandaBroker)
        yield broker


def order(name: str = "at1", *, limit: str | None = None, **changed: object) -> Order:
    now = datetime.now(UTC)
    made = Order(
        account="main",
        client_order_id=name,
        strategy_id="fx",
        instrument=EUR_USD,
        side=Side.BUY,
        quantity=Decimal(1000),
        type=OrderType.LIMIT if limit else OrderType.MARKET,
        limit_price=Decimal(limit) if limit else None,
        reference_price=Decimal("1.1"),
        reduces=False,
        decided_at=now,
        valid_until=now + timedelta(minutes=1),
        recorded_at=now,
        reason="test",
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def sent(venue: OandaHarness, kind: str = "MARKET_ORDER") -> list[dict[str, object]]:
    return [transaction for transaction in venue.book.transactions if transaction["type"] == kind]


async def test_the_real_account_needs_the_switch() -> None:
    settings = OandaSettings(rest_url="https://api-fxtrade.oanda.com", account="001-1")
    with pytest.raises(Refused, match="AUTOTRADER_TRADING__LIVE"):
        OandaBroker(settings, SystemWallClock(), account="main", live=False)
    OandaBroker(settings, SystemWallClock(), account="main", live=True)


async def test_an_account_must_be_named() -> None:
    with pytest.raises(ConfigurationError, match="AUTOTRADER_OANDA__ACCOUNT"):
        OandaBroker(OandaSettings(), SystemWallClock(), account="main", live=False)


async def test_orders_carry_id_and_strategy_and_reductions_are_held_to_it(
    broker: OandaBroker, venue: OandaHarness
) -> None:
    await broker.submit(order())
    await broker.submit(order("at2", side=Side.SELL, reduces=True))
    first, second = sent(venue)
    assert first["clientExtensions"] == {"id": "at1", "tag": "fx"}
    assert (first["units"], first["timeInForce"], first["positionFill"]) == ("1000", "IOC", "DEFAULT")
    assert (second["units"], second["positionFill"]) == ("-1000", "REDUCE_ONLY")


async def test_a_filled_order_is_not_filled_again_though_the_venue_would(
    broker: OandaBroker, venue: OandaHarness
) -> None:
    await broker.submit(order())
    assert venue.book.place({"type": "MARKET", "instrument": "EUR_USD", "units": "1"})[0] == 201
    assert (await broker.submit(order())).status is OrderStatus.FILLED
    assert len([t for t in sent(venue) if "clientExtensions" in t]) == 1


@pytest.mark.parametrize("fault", [AccountFault.SERVER_ERROR, AccountFault.BROKEN_ANSWER])
async def test_no_usable_answer_to_an_order_is_no_refusal(
    broker: OandaBroker, venue: OandaHarness, fault: AccountFault
) -> None:
    venue.book.misbehave(fault)
    with pytest.raises(Unreachable):
        await broker.submit(order())
    try:
        found = await broker.order(order())
    except Unreachable:  # the pool may hand out the connection that the venue is just closing
        found = await broker.order(order())
    assert found is not None
    assert found.status is OrderStatus.FILLED


async def test_a_refusal_gives_the_venues_reason(broker: OandaBroker, venue: OandaHarness) -> None:
    venue.book.misbehave(AccountFault.REJECTED)
    with pytest.raises(Rejected, match="INSUFFICIENT_MARGIN"):
        await broker.submit(order())
    found = await broker.order(order())
    assert found is not None
    assert (found.status, found.reason) == (OrderStatus.REJECTED, "INSUFFICIENT_MARGIN")


async def test_an_order_that_was_refused_may_be_sent_again(broker: OandaBroker, venue: OandaHarness) -> None:
    venue.book.misbehave(AccountFault.REJECTED)
    with pytest.raises(Rejected):
        await broker.submit(order())
    assert (await broker.submit(order())).status is OrderStatus.FILLED


async def test_what_a_market_order_does_not_get_it_gives_up(broker: OandaBroker, venue: OandaHarness) -> None:
    venue.book.misbehave(AccountFault.PARTIAL_FILL)
    found = await broker.submit(order())
    assert (found.status, found.filled, found.reason) == (
        OrderStatus.CANCELLED,
        Decimal(500),
        "INSUFFICIENT_LIQUIDITY",
    )
    assert await broker.order(order()) == found


async def test_rules_are_the_venues(broker: OandaBroker) -> None:
    rules = await broker.rules([EUR_USD, USD_JPY])
    euro, yen = rules[EUR_USD], rules[USD_JPY]
    assert (euro.tick, euro.lot, euro.currency, euro.base_currency) == (
        Decimal("0.00001"),
        Decimal(1),
        "USD",
        "EUR",
    )
    assert (yen.tick, yen.currency, yen.base_currency) == (Decimal("0.001"), "JPY", "USD")
    assert euro.shortable
    assert euro.borrow_bps_per_day == Decimal(146) / 365


async def test_cash_is_what_would_be_left_had_the_units_been_paid_for(
    broker: OandaBroker, venue: OandaHarness
) -> None:
    await broker.submit(order())
    await broker.submit(order("at2", instrument=USD_JPY, side=Side.SELL))
    account = await broker.account([EUR_USD, USD_JPY])
    assert account.cash == {"USD": Decimal(100_000) - 1100, "JPY": Decimal(150_000)}
    assert account.positions == {EUR_USD: Decimal(1000), USD_JPY: Decimal(-1000)}


async def test_orders_that_hang_on_a_trade_are_open_orders_too(
    broker: OandaBroker, venue: OandaHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    details = venue.book.details()
    details["account"]["orders"] = [{"id": "9", "type": "STOP_LOSS", "tradeID": "4", "price": "1.05"}]
    details["account"]["trades"] = [{"id": "4", "instrument": "EUR_USD", "currentUnits": "1000"}]
    monkeypatch.setattr(venue.book, "details", lambda: details)
    (stop,) = await broker.open_orders()
    assert (stop.venue_order_id, stop.client_order_id) == ("9", None)
    assert (stop.side, stop.quantity, stop.status) == (Side.SELL, Decimal(1000), OrderStatus.OPEN)


async def test_a_long_log_is_read_in_pages(
    broker: OandaBroker, venue: OandaHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotrader.connectors.oanda.transaction_log.PAGE", 3)
    for number in range(8):
        await broker.submit(order(f"at{number}"))
    fills = await broker.fills([EUR_USD], datetime.now(UTC) - timedelta(hours=1))
    assert [fill.client_order_id for fill in fills] == [f"at{number}" for number in range(8)]


@contextlib.asynccontextmanager
async def heard(broker: Broker, venue: OandaHarness) -> AsyncIterator[list[Fill | VenueOrder]]:
    told: list[Fill | VenueOrder] = []

    async def listen() -> None:
        async for update in broker.updates():
            told.append(update)  # noqa: PERF401 - as they come

    task = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(SOON):
            await venue.listening()
        yield told
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_silent_stream_is_made_anew_and_counts_as_a_gap(venue: OandaHarness) -> None:
    venue.silence_seconds = 0.5
    async with venue.broker() as broker, heard(broker, venue) as told:
        venue.book.silent = True
        await until(lambda: venue.book.streams > 1)  # it notices only by writing that a client has left
        venue.book.silent = False
        await until(lambda: broker.gaps > 0)
        await broker.submit(order())
        await until(lambda: any(isinstance(update, Fill) for update in told))


async def test_a_heartbeat_betrays_what_was_not_told(broker: OandaBroker, venue: OandaHarness) -> None:
    async with heard(broker, venue):
        await asyncio.sleep(0.1)
        assert broker.gaps == 0
        venue.book.misbehave(AccountFault.UNTOLD_FILL)
        await broker.submit(order())
        await until(lambda: broker.gaps == 1)


async def test_a_refusal_is_told_with_its_reason(broker: OandaBroker, venue: OandaHarness) -> None:
    async with heard(broker, venue) as told:
        venue.book.misbehave(AccountFault.REJECTED)
        with pytest.raises(Rejected):
            await broker.submit(order())
        await until(lambda: bool(told))
    (refused,) = told
    assert isinstance(refused, VenueOrder)
    assert (refused.status, refused.reason) == (OrderStatus.REJECTED, "INSUFFICIENT_MARGIN")


async def test_updates_end_when_the_broker_is_closed(venue: OandaHarness) -> None:
    async with venue.broker() as broker:
        task = asyncio.create_task(anext(broker.updates(), None))
        await venue.listening()
    async with asyncio.timeout(SOON):
        assert await task is None


async def test_the_venue_has_no_switch(broker: OandaBroker) -> None:
    assert not await broker.keep_alive(60.0)


async def test_a_profit_in_yen_is_told_as_taken_away_and_paid_out(
    broker: OandaBroker, venue: OandaHarness
) -> None:
    await broker.submit(order(instrument=USD_JPY))
    venue.book.trade("USD_JPY", Decimal("151.000"))
    await broker.submit(order("at2", instrument=USD_JPY, side=Side.SELL))
    _, sold, profit, converted = await broker.fills([USD_JPY], datetime.now(UTC) - timedelta(hours=1))
    assert (sold.quantity, sold.fee) == (Decimal(1000), Decimal(0))
    assert (profit.quantity, profit.fee, profit.fee_currency) == (Decimal(0), Decimal(1000), "JPY")
    # 1000 yen at 151, less the half percent that the venue keeps.
    assert (converted.quantity, converted.fee, converted.fee_currency) == (0, Decimal("-6.5894"), "USD")
    assert len({fill.fill_id for fill in (sold, profit, converted)}) == 3


async def test_a_nights_financing_is_a_cost_of_each_instrument(
    broker: OandaBroker, venue: OandaHarness
) -> None:
    async with heard(broker, venue) as told:
        venue.book.finance({"EUR_USD": Decimal("0.31"), "USD_JPY": Decimal("-0.02")})
        async with asyncio.timeout(SOON):
            while len(told) < 2:
                await asyncio.sleep(0.01)
    asked = await broker.fills([EUR_USD, USD_JPY], datetime.now(UTC) - timedelta(hours=1))
    assert told == asked
    assert [(fill.quantity, fill.fee, fill.fee_currency) for fill in asked] == [
        (Decimal(0), Decimal("0.31"), "USD"),
        (Decimal(0), Decimal("-0.02"), "USD"),
    ]
