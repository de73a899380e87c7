"""What every broker does, whatever venue is behind it.

Each runs against its venue's stand-in; `tests/brokers/harness.py` says what a stand-in must be able
to do. A misbehaviour that has no meaning at a venue is in its `cannot`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from autotrader.domain.errors import NotFound, Rejected, Throttled, Unreachable
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side, client_order_id, to_tick
from autotrader.ports.broker import Broker, Update, VenueOrder
from tests.brokers import binance, ibkr, oanda, paper
from tests.brokers.harness import BrokerHarness, HarnessFactory, Misbehaviour

HARNESSES: dict[str, HarnessFactory] = {
    "binance": binance.harness,
    "ibkr": ibkr.harness,
    "ibkr by ib_insync": ibkr.harness_of_ancestor,
    "oanda": oanda.harness,
    "paper": paper.harness,
}
CASH = Decimal(100_000)
SOON = 60.0  # seconds, for what a stand-in does in milliseconds; a busy machine may take longer
DAY = timedelta(days=1)

Make = Callable[..., Order]


@pytest.fixture(params=HARNESSES)
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[BrokerHarness]:
    async with HARNESSES[request.param](CASH) as harness:
        yield harness


@pytest.fixture
async def broker(venue: BrokerHarness) -> AsyncIterator[Broker]:
    async with venue.broker() as broker:
        yield broker


@pytest.fixture
def order(venue: BrokerHarness) -> Make:
    """Makes orders; each name is one decision. Without a limit, in shares of the price, at market."""

    def make(name: str = "first", side: Side = Side.BUY, limit: str | None = None) -> Order:
        now = venue.now()
        return Order(
            account="main",
            client_order_id=client_order_id("main", "suite", venue.instrument, now.replace(second=0), name),
            strategy_id="suite",
            instrument=venue.instrument,
            side=side,
            quantity=venue.quantity,
            type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            limit_price=None if limit is None else at(venue, limit),
            reference_price=venue.price,
            reduces=False,
            decided_at=now,
            valid_until=now + timedelta(minutes=1),
            recorded_at=now,
            reason="the suite wants it",
        )

    return make


def at(venue: BrokerHarness, share: str) -> Decimal:
    """A share of the market's first price, in hundredths of it, so on every venue's grid."""
    return to_tick(venue.price * Decimal(share), venue.price / 100)


def told_to(venue: BrokerHarness, kind: Misbehaviour) -> None:
    if kind in venue.cannot:
        pytest.skip(f"{kind.value} has no meaning here")
    venue.misbehave(kind)


async def fills(broker: Broker, venue: BrokerHarness) -> Sequence[Fill]:
    return await broker.fills([venue.instrument], venue.now() - DAY)


async def held(broker: Broker, venue: BrokerHarness) -> Decimal:
    return (await broker.account([venue.instrument])).positions.get(venue.instrument, Decimal(0))


async def bought(broker: Broker, venue: BrokerHarness, order: Order) -> VenueOrder:
    """What has become of a market order, once the market has gone on."""
    await broker.submit(order)
    await venue.trade(venue.price)
    found = await broker.order(order)
    assert found is not None
    return found


async def once_sure(broker: Broker, order: Order) -> VenueOrder | None:
    """What the venue has, asked until it is sure: what was sent last may still be on its way."""
    async with asyncio.timeout(SOON):
        while True:
            try:
                return await broker.order(order)
            except Unreachable:
                await asyncio.sleep(0.05)


class Heard:
    """The broker's updates, kept as they come."""

    def __init__(self, updates: AsyncIterator[Update]) -> None:
        self.fills: list[Fill] = []
        self.orders: list[VenueOrder] = []
        self._updates = updates
        self._came = asyncio.Condition()

    async def listen(self) -> None:
        async for update in self._updates:
            async with self._came:
                if isinstance(update, Fill):
                    self.fills.append(update)
                else:
                    self.orders.append(update)
                self._came.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON), self._came:
            await self._came.wait_for(condition)

    @property
    def quantity(self) -> Decimal:
        """Of the fills, each counted once."""
        return sum({fill.fill_id: fill.quantity for fill in self.fills}.values(), Decimal(0))


@contextlib.asynccontextmanager
async def _listening(broker: Broker, venue: BrokerHarness) -> AsyncIterator[Heard]:
    heard = Heard(broker.updates())
    task = asyncio.create_task(heard.listen())
    try:
        async with asyncio.timeout(SOON):
            await venue.listening()
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


Listening = Callable[[], AbstractAsyncContextManager[Heard]]


@pytest.fixture
def listening(broker: Broker, venue: BrokerHarness) -> Listening:
    return lambda: _listening(broker, venue)


# What is there


async def test_rules_say_steps_and_currencies(broker: Broker, venue: BrokerHarness) -> None:
    rules = (await broker.rules([venue.instrument]))[venue.instrument]
    assert rules.currency == venue.currency
    assert rules.tick > 0
    assert rules.lot > 0
    assert venue.quantity % rules.lot == 0
    assert rules.minimum_notional <= venue.quantity / 4 * venue.price


async def test_rules_of_what_the_venue_does_not_have_are_not_found(
    broker: Broker, venue: BrokerHarness
) -> None:
    with pytest.raises(NotFound):
        await broker.rules([venue.instrument, venue.unknown])


async def test_a_new_account_holds_its_cash_and_nothing_else(broker: Broker, venue: BrokerHarness) -> None:
    account = await broker.account([venue.instrument])
    assert account.cash == {venue.currency: CASH}
    assert account.positions == {}
    assert await broker.open_orders() == []
    assert await fills(broker, venue) == []


async def test_an_unknown_order_is_none(broker: Broker, order: Make) -> None:
    assert await broker.order(order()) is None
    assert await broker.cancel(order()) is None


# Orders and their fills


async def test_a_market_order_is_filled(broker: Broker, venue: BrokerHarness, order: Make) -> None:
    wanted = order()
    found = await bought(broker, venue, wanted)
    assert (found.client_order_id, found.instrument, found.side) == (
        wanted.client_order_id,
        venue.instrument,
        Side.BUY,
    )
    assert (found.status, found.quantity, found.filled) == (
        OrderStatus.FILLED,
        wanted.quantity,
        wanted.quantity,
    )
    traded = await fills(broker, venue)
    assert sum(fill.quantity for fill in traded) == wanted.quantity
    for fill in traded:
        assert (fill.account, fill.instrument, fill.side) == ("main", venue.instrument, Side.BUY)
        assert fill.client_order_id == wanted.client_order_id
        assert fill.venue_order_id == found.venue_order_id
        assert fill.fee >= 0
        assert fill.at.tzinfo is not None


async def test_a_submitted_order_is_answered_with_what_has_become_of_it(
    broker: Broker, venue: BrokerHarness, order: Make
) -> None:
    wanted = order(limit="0.90")
    answered = await broker.submit(wanted)
    assert (answered.client_order_id, answered.status, answered.filled) == (
        wanted.client_order_id,
        OrderStatus.OPEN,
        0,
    )
    assert await broker.open_orders() == [answered]
    assert await broker.order(wanted) == answered


async def test_a_limit_order_waits_for_its_price(broker: Broker, venue: BrokerHarness, order: Make) -> None:
    wanted = order(limit="0.90")
    await broker.submit(wanted)
    await venue.trade(at(venue, "0.95"))
    assert await fills(broker, venue) == []
    await venue.trade(at(venue, "0.85"))
    traded = await fills(broker, venue)
    assert sum(fill.quantity for fill in traded) == wanted.quantity
    assert all(fill.price <= at(venue, "0.90") for fill in traded)
    assert await broker.open_orders() == []


@pytest.mark.parametrize("limit", [None, "0.90"])
async def test_the_same_order_twice_is_one_order(
    broker: Broker, venue: BrokerHarness, order: Make, limit: str | None
) -> None:
    wanted = order(limit=limit)
    first = await broker.submit(wanted)
    second = await broker.submit(wanted)
    assert first.venue_order_id == second.venue_order_id
    await venue.trade(at(venue, "0.85"))
    assert await broker.submit(wanted) == await broker.order(wanted)
    await venue.trade(at(venue, "0.85"))
    assert sum(fill.quantity for fill in await fills(broker, venue)) == wanted.quantity


async def test_the_same_order_after_a_restart_is_one_order(venue: BrokerHarness, order: Make) -> None:
    wanted = order()
    async with venue.broker() as broker:
        before = await bought(broker, venue, wanted)
    async with venue.broker() as restarted:
        assert await restarted.submit(wanted) == before
        await venue.trade(venue.price)
        assert {fill.client_order_id for fill in await fills(restarted, venue)} == {wanted.client_order_id}
        assert sum(fill.quantity for fill in await fills(restarted, venue)) == wanted.quantity


async def test_what_was_sold_is_gone(broker: Broker, venue: BrokerHarness, order: Make) -> None:
    await bought(broker, venue, order("in"))
    before = await held(broker, venue)
    selling = replace(order("out", Side.SELL), quantity=venue.quantity / 2)
    await bought(broker, venue, selling)
    assert await held(broker, venue) == before - venue.quantity / 2


async def test_fills_have_the_same_ids_whenever_they_are_asked_for(
    broker: Broker, venue: BrokerHarness, order: Make
) -> None:
    await bought(broker, venue, order("first"))
    await bought(broker, venue, order("second"))
    traded = await fills(broker, venue)
    assert await fills(broker, venue) == traded
    assert len({fill.fill_id for fill in traded}) == len(traded)
    assert [fill.at for fill in traded] == sorted(fill.at for fill in traded)


async def test_fills_since_an_instant_include_it(broker: Broker, venue: BrokerHarness, order: Make) -> None:
    await bought(broker, venue, order())
    newest = (await fills(broker, venue))[-1]
    assert newest in await broker.fills([venue.instrument], newest.at)
    assert newest not in await broker.fills([venue.instrument], newest.at + timedelta(seconds=1))


async def test_cash_and_positions_add_up(broker: Broker, venue: BrokerHarness, order: Make) -> None:
    await bought(broker, venue, order())
    rules = (await broker.rules([venue.instrument]))[venue.instrument]
    cash, units = CASH, Decimal(0)
    for fill in await fills(broker, venue):
        cash -= fill.signed * fill.price
        units += fill.signed
        if fill.fee_currency == rules.base_currency:
            units -= fill.fee
        else:
            assert fill.fee_currency == venue.currency
            cash -= fill.fee
    account = await broker.account([venue.instrument])
    assert account.cash == {venue.currency: cash}
    assert account.positions == {venue.instrument: units}


async def test_what_is_reserved_for_open_orders_counts(
    broker: Broker, venue: BrokerHarness, order: Make
) -> None:
    await broker.submit(order(limit="0.90"))
    assert (await broker.account([venue.instrument])).cash == {venue.currency: CASH}


# Cancelling


async def test_an_open_order_is_cancelled_once(broker: Broker, venue: BrokerHarness, order: Make) -> None:
    wanted = order(limit="0.90")
    await broker.submit(wanted)
    for _ in range(2):
        cancelled = await broker.cancel(wanted)
        assert cancelled is not None
        assert (cancelled.status, cancelled.filled) == (OrderStatus.CANCELLED, 0)
    assert await broker.open_orders() == []
    await venue.trade(at(venue, "0.80"))
    assert await fills(broker, venue) == []
    found = await broker.order(wanted)
    assert found is not None
    assert found.status is OrderStatus.CANCELLED


async def test_a_filled_order_cannot_be_cancelled(broker: Broker, venue: BrokerHarness, order: Make) -> None:
    wanted = order()
    filled = await bought(broker, venue, wanted)
    assert await broker.cancel(wanted) == filled


async def test_a_fill_after_the_cancellation_counts(
    broker: Broker, venue: BrokerHarness, order: Make, listening: Listening
) -> None:
    wanted = order(limit="0.90")
    async with listening() as heard:
        await broker.submit(wanted)
        told_to(venue, Misbehaviour.LATE_FILL)
        cancelled = await broker.cancel(wanted)
        assert cancelled is not None
        assert cancelled.status is OrderStatus.CANCELLED
        await venue.trade(at(venue, "0.90"))
        await heard.until(lambda: heard.quantity == wanted.quantity)
    found = await broker.order(wanted)
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.FILLED, wanted.quantity)


# Answers that are no answers


async def test_an_order_whose_answer_was_lost_is_found(
    broker: Broker, venue: BrokerHarness, order: Make
) -> None:
    wanted = order(limit="0.90")
    told_to(venue, Misbehaviour.LOST_ANSWER)
    with pytest.raises(Unreachable):
        await broker.submit(wanted)
    found = await once_sure(broker, wanted)
    assert found is not None
    assert (found.client_order_id, found.status) == (wanted.client_order_id, OrderStatus.OPEN)
    assert await broker.submit(wanted) == found
    assert await broker.open_orders() == [found]


async def test_an_order_that_never_arrived_is_none(broker: Broker, venue: BrokerHarness, order: Make) -> None:
    wanted = order(limit="0.90")
    told_to(venue, Misbehaviour.LOST_REQUEST)
    with pytest.raises(Unreachable):
        await broker.submit(wanted)
    assert await once_sure(broker, wanted) is None
    assert (await broker.submit(wanted)).status is OrderStatus.OPEN


async def test_a_refused_order_is_rejected_and_not_there(
    broker: Broker, venue: BrokerHarness, order: Make
) -> None:
    wanted = order()
    told_to(venue, Misbehaviour.REJECTED)
    with pytest.raises(Rejected):
        await broker.submit(wanted)
    await venue.trade(venue.price)
    found = await broker.order(wanted)
    assert found is None or found.status is OrderStatus.REJECTED
    assert await broker.open_orders() == []
    assert await fills(broker, venue) == []


async def test_a_throttled_order_is_not_done(venue: BrokerHarness, order: Make) -> None:
    wanted = order(limit="0.90")
    async with venue.broker() as broker:
        told_to(venue, Misbehaviour.THROTTLED)
        with pytest.raises(Throttled) as plea:
            await broker.submit(wanted)
        assert plea.value.retry_after_seconds > 0
    async with venue.broker() as later:
        assert await later.open_orders() == []


async def test_an_account_that_is_out_of_date_says_of_when_it_is(
    broker: Broker, venue: BrokerHarness, order: Make
) -> None:
    await bought(broker, venue, order())
    newest = (await fills(broker, venue))[-1]
    assert (await broker.account([venue.instrument])).at >= newest.at
    told_to(venue, Misbehaviour.STALE_ACCOUNT)
    assert (await broker.account([venue.instrument])).at < newest.at
    assert (await broker.account([venue.instrument])).at >= newest.at


# Updates


async def test_updates_tell_fills_and_states(
    broker: Broker, venue: BrokerHarness, order: Make, listening: Listening
) -> None:
    wanted = order()
    async with listening() as heard:
        await bought(broker, venue, wanted)
        await heard.until(lambda: any(told.status is OrderStatus.FILLED for told in heard.orders))
        await heard.until(lambda: heard.quantity == wanted.quantity)
    assert {told.client_order_id for told in heard.orders} == {wanted.client_order_id}
    assert heard.fills == list(await fills(broker, venue))


async def test_updates_tell_of_a_cancellation(broker: Broker, order: Make, listening: Listening) -> None:
    wanted = order(limit="0.90")
    async with listening() as heard:
        await broker.submit(wanted)
        await broker.cancel(wanted)
        await heard.until(lambda: any(told.status is OrderStatus.CANCELLED for told in heard.orders))


async def test_a_fill_that_is_told_twice_is_the_same_fill(
    broker: Broker, venue: BrokerHarness, order: Make, listening: Listening
) -> None:
    wanted = order()
    async with listening() as heard:
        told_to(venue, Misbehaviour.DUPLICATE_FILL)
        await bought(broker, venue, wanted)
        await heard.until(lambda: any(told.status is OrderStatus.FILLED for told in heard.orders))
        await heard.until(lambda: heard.quantity == wanted.quantity)
    assert set(heard.fills) == set(await fills(broker, venue))


async def test_a_fill_that_was_not_told_is_found(
    broker: Broker, venue: BrokerHarness, order: Make, listening: Listening
) -> None:
    told_to(venue, Misbehaviour.UNTOLD_FILL)
    async with listening() as heard:
        await bought(broker, venue, order("untold"))
        wanted = order("told")
        await bought(broker, venue, wanted)
        await heard.until(lambda: wanted.client_order_id in {fill.client_order_id for fill in heard.fills})
    assert heard.quantity < 2 * wanted.quantity
    assert sum(fill.quantity for fill in await fills(broker, venue)) == 2 * wanted.quantity


async def test_a_broken_connection_counts_as_a_gap_and_is_made_anew(
    broker: Broker, venue: BrokerHarness, order: Make, listening: Listening
) -> None:
    async with listening() as heard:
        await broker.open_orders()  # the venue knows of the connection sooner than who is making it
        before = broker.gaps
        told_to(venue, Misbehaviour.DISCONNECTED)
        async with asyncio.timeout(SOON):
            while broker.gaps == before:
                await asyncio.sleep(0.01)
            await venue.listening()
        wanted = order()
        await bought(broker, venue, wanted)
        await heard.until(lambda: heard.quantity == wanted.quantity)


# The dead man's switch


async def test_the_switch_is_armed_or_there_is_none(
    broker: Broker, venue: BrokerHarness, order: Make
) -> None:
    await broker.submit(order(limit="0.90"))
    assert await broker.keep_alive(60.0) in {True, False}
    assert len(await broker.open_orders()) == 1
