"""A venue that does again what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.recorded_broker import RecordedBroker
from autotrader.domain.errors import NotFound, Rejected
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side
from autotrader.domain.positions import Holdings
from autotrader.ports.broker import Broker, Update
from autotrader.trading.bars import Batch

FIRST = datetime(2024, 1, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
RULES = InstrumentRules(Decimal("0.01"), Decimal("0.001"), Decimal(5), "USDT", "BTC")


def order(name: str = "c1", status: OrderStatus = OrderStatus.RECORDED, **fields: object) -> Order:
    made = Order(
        account="main",
        client_order_id=name,
        strategy_id="s",
        instrument=BTC,
        side=Side.BUY,
        quantity=Decimal(3),
        type=OrderType.MARKET,
        limit_price=None,
        reference_price=Decimal(10),
        reduces=False,
        decided_at=FIRST,
        valid_until=FIRST + MINUTE,
        recorded_at=FIRST,
        reason="wanted",
        status=status,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def fill(name: str, seconds: float, quantity: int = 1, of: str | None = "c1") -> Fill:
    at = FIRST + timedelta(seconds=seconds)
    price, fee = Decimal(10), Decimal("0.01")
    return Fill("main", name, of, "v1", BTC, Side.BUY, Decimal(quantity), price, fee, "USDT", at)


def batch(minute: int) -> Batch:
    return Batch(FIRST + minute * MINUTE, FIRST + (minute + 1) * MINUTE, ())


def played(
    orders: list[Order], fills: list[Fill], play: Callable[[RecordedBroker], Awaitable[None]]
) -> tuple[RecordedBroker, list[Update]]:
    """The venue after something was done with it, and what it told meanwhile."""
    heard: list[Update] = []
    note = heard.append

    async def run() -> RecordedBroker:
        holdings = Holdings("main", {"USDT": Decimal(100)})
        async with RecordedBroker(
            Venue.BINANCE,
            rules={BTC: RULES},
            holdings=holdings,
            orders=orders,
            fills=fills,
            clock=SystemWallClock(),
        ) as venue:

            async def listen() -> None:
                async for update in venue.updates():
                    note(update)

            listening = asyncio.create_task(listen())
            await asyncio.sleep(0)
            await play(venue)
            listening.cancel()
            return venue

    return asyncio.run(run()), heard


def test_it_is_a_broker() -> None:
    async def nothing(venue: RecordedBroker) -> None:
        assert isinstance(venue, Broker)
        assert await venue.rules([BTC]) == {BTC: RULES}
        with pytest.raises(NotFound):
            await venue.rules([InstrumentId(Venue.BINANCE, "ETHUSDT")])

    played([], [], nothing)


def test_fills_come_before_the_bars_that_close_after_them_and_not_before_their_order() -> None:
    fills = [fill("a", 5), fill("b", 61, 2)]

    async def play(venue: RecordedBroker) -> None:
        await venue.take(batch(0))
        assert not await venue.fills([BTC], FIRST)
        await venue.submit(order())
        await venue.take(batch(0))
        assert [f.fill_id for f in await venue.fills([BTC], FIRST)] == ["a"]
        await venue.take(batch(1))
        assert not await venue.open_orders()

    venue, heard = played([order(status=OrderStatus.FILLED)], fills, play)
    assert heard == fills
    account = asyncio.run(venue.account([BTC]))
    assert account.cash == {"USDT": Decimal("69.98")}
    assert account.positions == {BTC: Decimal(3)}


def test_a_partly_filled_order_is_cancelled_with_all_that_it_had_got() -> None:
    async def play(venue: RecordedBroker) -> None:
        await venue.submit(order())
        await venue.take(batch(0))
        word = await venue.cancel(order())
        assert word is not None
        assert (word.status, word.filled, word.reason) == (OrderStatus.CANCELLED, 2, "cancelled by us")

    recorded = order(status=OrderStatus.CANCELLED, reason="cancelled by us", filled=Decimal(2))
    # The second one traded as the bars closed, and was known when the order was taken back.
    _, heard = played([recorded], [fill("a", 5), fill("b", 62)], play)
    assert len(heard) == 2


def test_an_order_that_got_more_in_later_bars_goes_on_working() -> None:
    async def play(venue: RecordedBroker) -> None:
        await venue.submit(order())
        await venue.take(batch(0))
        word = await venue.cancel(order())
        assert word is not None
        assert (word.status, word.filled) == (OrderStatus.OPEN, 1)

    played([order(status=OrderStatus.FILLED)], [fill("a", 5), fill("b", 130, 2)], play)


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.EXPIRED])
def test_what_was_rejected_or_never_sent_is_rejected(status: OrderStatus) -> None:
    async def play(venue: RecordedBroker) -> None:
        with pytest.raises(Rejected, match="no margin"):
            await venue.submit(order())
        assert await venue.order(order()) is None
        assert await venue.cancel(order()) is None

    played([order(status=status, reason="no margin")], [], play)


def test_an_order_that_was_not_recorded_is_rejected_and_remembered() -> None:
    async def play(venue: RecordedBroker) -> None:
        with pytest.raises(Rejected, match="was c2"):
            await venue.submit(order("c2"))
        assert [o.client_order_id for o in venue.submitted] == ["c2"]

    played([order()], [], play)


def test_what_somebody_else_traded_comes_at_its_time() -> None:
    async def play(venue: RecordedBroker) -> None:
        await venue.take(batch(0))
        await venue.take(batch(1))

    _, heard = played([], [fill("x", 61, of=None)], play)
    assert [f.fill_id for f in heard if isinstance(f, Fill)] == ["x"]
