"""What is special of orders at IB; what every broker does is in `tests/contracts/test_broker.py`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import IbkrSettings
from autotrader.connectors.ibkr_connector.broker import IbkrBroker
from autotrader.domain.errors import ConfigurationError, Refused, Rejected, Unreachable
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side
from autotrader.ports.broker import Broker, Update
from tests.brokers.ibkr import CLIENT_ID, PATIENCE, IbkrHarness, harness, harness_of_ancestor
from tests.fakes.tws_account import AccountFault

AAPL = InstrumentId(Venue.IBKR, "AAPL")
HOUR = timedelta(hours=1)
SOON = 60.0  # seconds, for what a stand-in does in milliseconds


@pytest.fixture(params=[harness, harness_of_ancestor], ids=["ib_async", "ib_insync"])
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[IbkrHarness]:
    async with request.param(Decimal(100_000)) as venue:
        yield venue


@pytest.fixture
async def broker(venue: IbkrHarness) -> AsyncIterator[IbkrBroker]:
    async with venue.broker() as broker:
        assert isinstance(broker, IbkrBroker)
        yield broker


def order(name: str = "at1", *, limit: str | None = None, **changed: object) -> Order:
    now = datetime.now(UTC)
    made = Order(
        account="main",
        client_order_id=name,
        strategy_id="stocks",
        instrument=AAPL,
        side=Side.BUY,
        quantity=Decimal(8),
        type=OrderType.LIMIT if limit else OrderType.MARKET,
        limit_price=Decimal(limit) if limit else None,
        reference_price=Decimal(180),
        reduces=False,
        decided_at=now,
        valid_until=now + timedelta(minutes=1),
        recorded_at=now,
        reason="test",
    )
    return replace(made, **changed)  # type: ignore[arg-type]


async def fills(broker: Broker) -> list[Fill]:
    return [*await broker.fills([AAPL], datetime.now(UTC) - HOUR)]


@contextlib.asynccontextmanager
async def heard(broker: Broker, venue: IbkrHarness) -> AsyncIterator[list[Update]]:
    told: list[Update] = []

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


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.005)


# Who may connect


@pytest.mark.parametrize("port", [7496, 4001])
def test_ports_of_real_accounts_need_the_switch(port: int) -> None:
    settings = IbkrSettings(port=port)
    with pytest.raises(Refused, match="AUTOTRADER_TRADING__LIVE"):
        IbkrBroker(settings, SystemWallClock(), account="main", live=False)
    IbkrBroker(settings, SystemWallClock(), account="main", live=True)


async def test_a_client_id_in_use_is_waited_for_not_evaded(broker: IbkrBroker, venue: IbkrHarness) -> None:
    venue.gateway.taken_client_ids.add(CLIENT_ID)
    with pytest.raises(Unreachable, match="client id 17 to be free, was in use"):
        await broker.open_orders()
    with capture_logs() as logs:
        task = asyncio.ensure_future(anext(broker.updates()))
        await until(lambda: any("in use" in str(line.get("reason")) for line in logs))
    venue.gateway.taken_client_ids.clear()
    await until(lambda: CLIENT_ID in venue.account.clients)
    await broker.submit(order())
    async with asyncio.timeout(SOON):
        await task


async def test_a_login_with_several_accounts_is_refused(
    broker: IbkrBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.tws_gateway.ACCOUNT", "DU1234567,DU7654321")
    with pytest.raises(ConfigurationError, match="one account, was one with 2"):
        await broker.open_orders()


# Handing over


async def test_an_order_names_itself_its_account_and_its_hours(
    broker: IbkrBroker, venue: IbkrHarness
) -> None:
    await broker.submit(order(limit="170.00"))
    (placed,) = venue.account.placed
    assert (placed["ref"], placed["account"], placed["outside_rth"]) == ("at1", "DU1234567", False)
    assert (placed["quantity"], placed["type"], placed["limit"]) == (Decimal(8), "LMT", "170.00")


async def test_an_unacknowledged_order_is_not_sent_a_second_time(
    broker: IbkrBroker, venue: IbkrHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await broker.rules([AAPL])
    monkeypatch.setattr(broker, "_patience", replace(PATIENCE, request_seconds=0.3))
    venue.account.misbehave(AccountFault.SILENT)
    with pytest.raises(Unreachable, match="acknowledgement"):
        await broker.submit(order(limit="170"))
    assert (await broker.submit(order(limit="170"))).status is OrderStatus.OPEN
    assert len(venue.account.placed) == len(venue.account.orders) == 1


async def test_what_never_arrived_is_sent_again_under_its_own_number(
    broker: IbkrBroker, venue: IbkrHarness
) -> None:
    await broker.submit(order("at0", limit="170"))
    venue.account.misbehave(AccountFault.LOST_REQUEST)
    with pytest.raises(Unreachable):
        await broker.submit(order(limit="170"))
    assert await broker.order(order(limit="170")) is None
    await broker.submit(order("at2", limit="170"))
    await broker.submit(order(limit="170"))
    numbers = {placed["ref"]: placed["number"] for placed in venue.account.placed}
    assert numbers["at0"] < numbers["at1"] < numbers["at2"]
    # An error that names the number could otherwise be of either.
    assert not set(numbers.values()) & set(venue.account.requested)


async def test_a_number_that_is_used_up_is_not_used_again(broker: IbkrBroker, venue: IbkrHarness) -> None:
    venue.account.misbehave(AccountFault.DUPLICATE_NUMBER)
    with pytest.raises(Unreachable, match="new number"):
        await broker.submit(order(limit="170"))
    assert await broker.order(order(limit="170")) is None
    assert (await broker.submit(order(limit="170"))).status is OrderStatus.OPEN
    first, second = venue.account.placed
    assert second["number"] > first["number"]


@pytest.mark.parametrize(
    ("fault", "reason"), [(AccountFault.REJECTED, "INSUFFICIENT FUNDS"), (AccountFault.INACTIVE, "inactive")]
)
async def test_a_refusal_may_come_as_error_or_as_status(
    broker: IbkrBroker, venue: IbkrHarness, fault: AccountFault, reason: str
) -> None:
    venue.account.misbehave(fault)
    with pytest.raises(Rejected, match=reason):
        await broker.submit(order())
    found = await broker.order(order())
    assert found is not None
    assert found.status is OrderStatus.REJECTED
    assert (await broker.submit(order())).status is not OrderStatus.REJECTED


async def test_an_order_held_for_a_later_session_is_taken_back(
    broker: IbkrBroker, venue: IbkrHarness
) -> None:
    venue.account.misbehave(AccountFault.HELD)
    async with heard(broker, venue) as told:
        await broker.submit(order())
        await until(lambda: any(update.status is OrderStatus.CANCELLED for update in told))  # type: ignore[union-attr]
    found = await broker.order(order())
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.CANCELLED, 0)
    assert "not be placed at the exchange until" in found.reason


# Cancelling


async def test_a_cancellation_that_came_too_late_tells_of_the_fill(
    broker: IbkrBroker, venue: IbkrHarness
) -> None:
    await broker.submit(order(limit="170"))
    venue.account.misbehave(AccountFault.FILLED_BEFORE)
    found = await broker.cancel(order(limit="170"))
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.FILLED, Decimal(8))


async def test_an_order_that_cannot_be_cancelled_now_is_still_open(
    broker: IbkrBroker, venue: IbkrHarness
) -> None:
    await broker.submit(order(limit="170"))
    venue.account.misbehave(AccountFault.NOT_CANCELLABLE)
    found = await broker.cancel(order(limit="170"))
    assert found is not None
    assert found.status is OrderStatus.OPEN


async def test_orders_of_others_are_seen_and_left_alone(broker: IbkrBroker, venue: IbkrHarness) -> None:
    venue.account.made_by_another("MSFT", Decimal(5), Decimal(390))
    (found,) = await broker.open_orders()
    assert (found.client_order_id, found.instrument.symbol, found.quantity) == (None, "MSFT", Decimal(5))
    venue.account.orders[0]["ref"] = "at1"
    with pytest.raises(Rejected, match="only the client that made an order"):
        await broker.cancel(order())


async def test_an_order_that_is_told_by_itself_amid_the_list_is_in_it_once(
    broker: IbkrBroker, venue: IbkrHarness
) -> None:
    await broker.submit(order(limit="170"))
    venue.account.misbehave(AccountFault.TOLD_MEANWHILE)
    (found,) = await broker.open_orders()
    assert found.client_order_id == order().client_order_id


# Holdings


async def test_a_contract_that_is_listed_twice_is_held_once(broker: IbkrBroker, venue: IbkrHarness) -> None:
    await broker.submit(order())
    venue.account.misbehave(AccountFault.DUPLICATE_POSITIONS)
    assert (await broker.account([AAPL])).positions == {AAPL: Decimal(8)}


async def test_half_a_list_of_positions_is_none(broker: IbkrBroker, venue: IbkrHarness) -> None:
    await broker.submit(order())
    venue.account.misbehave(AccountFault.HALF_POSITIONS)
    with pytest.raises(Unreachable):
        await broker.account([AAPL])
    assert (await broker.account([AAPL])).positions == {AAPL: Decimal(8)}


async def test_a_lot_is_a_whole_share_though_the_venue_counts_in_fractions(broker: IbkrBroker) -> None:
    rules = (await broker.rules([AAPL]))[AAPL]
    assert (rules.tick, rules.lot, rules.shortable) == (Decimal("0.01"), Decimal(1), False)


# Commissions and corrections


async def test_a_fill_waits_for_its_commission(broker: IbkrBroker, venue: IbkrHarness) -> None:
    async with heard(broker, venue) as told:
        await broker.submit(order())
        await until(lambda: any(isinstance(update, Fill) for update in told))
    (fill,) = [update for update in told if isinstance(update, Fill)]
    assert (fill.fee, fill.fee_currency) == (Decimal(1), "USD")


async def test_a_late_commission_follows_as_a_fill_of_no_units(venue: IbkrHarness) -> None:
    venue.account.misbehave(AccountFault.LATE_COMMISSION)
    venue.patience = replace(PATIENCE, commission_seconds=0.3)
    async with venue.broker() as broker, heard(broker, venue) as told:
        await broker.submit(order())
        await until(lambda: any(isinstance(update, Fill) for update in told))
        venue.gateway.do(venue.account.pay_late)
        await until(lambda: sum(isinstance(update, Fill) for update in told) == 2)
    fill, fee = (update for update in told if isinstance(update, Fill))
    assert (fill.quantity, fill.fee) == (Decimal(8), 0)
    assert (fee.fill_id, fee.quantity, fee.fee) == (f"{fill.fill_id}/fee", 0, Decimal(1))


async def test_fills_that_are_asked_for_wait_for_commissions_a_moment_only(venue: IbkrHarness) -> None:
    venue.account.misbehave(AccountFault.LATE_COMMISSION)
    venue.patience = replace(PATIENCE, commission_seconds=0.3)
    async with venue.broker() as broker:
        await broker.submit(order())
        (fill,) = await fills(broker)
    assert (fill.quantity, fill.fee) == (Decimal(8), 0)


async def test_a_corrected_trade_is_the_same_fill_and_a_gap(broker: IbkrBroker, venue: IbkrHarness) -> None:
    venue.account.misbehave(AccountFault.CORRECTED_FILL)
    async with heard(broker, venue) as told:
        await broker.submit(order())
        await until(lambda: broker.gaps == 1)
        (corrected,) = await fills(broker)
    (fill,) = [update for update in told if isinstance(update, Fill)]
    assert corrected.fill_id == fill.fill_id
    assert corrected.price == fill.price - Decimal("0.01")


# Nights


async def test_the_nightly_restart_is_survived(broker: IbkrBroker, venue: IbkrHarness) -> None:
    async with heard(broker, venue) as told:
        await broker.submit(order(limit="170"))
        venue.gateway.go_away()
        with pytest.raises(Unreachable):
            await broker.open_orders()
        venue.gateway.come_back()
        await until(lambda: broker.gaps == 1)
        (found,) = await broker.open_orders()
        assert found.client_order_id == "at1"
        await venue.trade(Decimal(169))
        await until(lambda: any(isinstance(update, Fill) for update in told))


async def test_while_the_gateway_is_cut_off_nothing_is_sent(broker: IbkrBroker, venue: IbkrHarness) -> None:
    await broker.open_orders()
    venue.gateway.tell_all(1100, "Connectivity between IB and Trader Workstation has been lost.")
    with pytest.raises(Unreachable, match="1100"):  # an answer would come after the notice
        await broker.open_orders()
    with pytest.raises(Unreachable, match="1100"):
        await broker.submit(order())
    assert venue.account.placed == []
    venue.gateway.tell_all(1102, "Connectivity between IB and TWS has been restored- data maintained.")
    await until(lambda: broker.gaps == 1)
    assert (await broker.submit(order())).status is not OrderStatus.REJECTED


async def test_an_order_of_a_day_that_is_over_is_over(broker: IbkrBroker) -> None:
    old = order(recorded_at=datetime.now(UTC) - timedelta(days=3), filled=Decimal(3), venue_order_id="7")
    found = await broker.order(old)
    assert found is not None
    assert (found.status, found.filled, found.venue_order_id) == (OrderStatus.CANCELLED, Decimal(3), "7")
    assert "since midnight only" in found.reason


async def test_fills_of_an_earlier_day_are_said_to_be_incomplete(broker: IbkrBroker) -> None:
    with capture_logs() as logs:
        await broker.fills([AAPL], datetime.now(UTC) - timedelta(days=3))
    assert any(line["event"] == "executions reach back to midnight only" for line in logs)


async def test_the_venue_has_no_switch(broker: IbkrBroker) -> None:
    assert not await broker.keep_alive(60.0)
