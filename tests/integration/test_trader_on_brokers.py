"""The trader on each venue's stand-in, end to end: what it believes afterwards is what the venue says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from autotrader.adapters.clocks import SystemWallClock
from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.signatures import KEY, SECRET
from autotrader.apps.trader.live_feed import LiveFeed, PolledBars
from autotrader.config.settings import OandaSettings
from autotrader.connectors.oanda.decode import decode_page
from autotrader.connectors.oanda.source import OandaSource
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ExitCode
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Order, OrderStatus, OrderType, Side, client_order_id
from autotrader.domain.trading import RecoveryKind, RunStatus, TradingState
from autotrader.trading import session
from tests.brokers import binance, ibkr, oanda
from tests.brokers.binance import BinanceHarness
from tests.brokers.harness import BrokerHarness, HarnessFactory, Misbehaviour
from tests.brokers.ibkr import IbkrHarness
from tests.brokers.oanda import OandaHarness
from tests.brokers.trading import CENTS, EVERYTHING, VenueWorld
from tests.fakes.clocks import SettableClock
from tests.fakes.market_data import made_bars
from tests.fakes.oanda_server import OandaServer
from tests.fakes.tws_account import AccountFault

NOT_OURS = "another"

pytestmark = [pytest.mark.integration]

HARNESSES: dict[str, HarnessFactory] = {
    "binance": binance.harness,
    "ibkr": ibkr.harness,
    "oanda": oanda.harness,
}
CASH = Decimal(100_000)
PATIENCE_SECONDS = 120
UP, DOWN, NO = 0.6, -0.6, 0.0
# In, out, in, out.
SCRIPT = (UP, NO, NO, DOWN, NO, NO, UP, NO, NO, DOWN, NO, NO, NO)


@pytest.fixture(params=HARNESSES)
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[BrokerHarness]:
    async with HARNESSES[request.param](CASH) as harness:
        yield harness


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "TICK_SECONDS", 0.05)


async def test_positions_cash_and_equity_are_the_venues_after_some_minutes(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    world = VenueWorld(tmp_path, venue, SCRIPT)
    await world.run()
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE
    assert len(world.records.trades("main", EVERYTHING)) >= 2
    # In and out, twice, and nothing beside: what a fee has taken is not bought anew.
    assert len([order for order in world.orders() if order.status is OrderStatus.FILLED]) in {4, 7}
    recoveries = world.records.recoveries("main", EVERYTHING)
    assert all(r.resolved and not r.discrepancies for r in recoveries)
    # A continuous one is left by a look that was quicker than the venue's own message of a fill.
    looks = [r for r in recoveries if r.kind is RecoveryKind.CONTINUOUS and r.adopted_fills]
    assert [r.kind for r in recoveries if r not in looks] == [RecoveryKind.STARTUP]


@pytest.mark.parametrize("kind", list(Misbehaviour))
async def test_a_fault_leaves_no_difference(venue: BrokerHarness, tmp_path: Path, kind: Misbehaviour) -> None:
    if kind in venue.cannot:
        pytest.skip("has no meaning at this venue")

    async def misbehave(minute: int) -> None:
        if minute == 3:
            venue.misbehave(kind)

    world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, *[NO] * 7), before=misbehave)
    if kind is Misbehaviour.LATE_FILL:
        # The market goes away from the order, which is taken back, and filled by the next trade.
        world.away, world.silent = frozenset({3}), frozenset({4})
    await world.run()
    assert not venue.due
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE
    assert all(r.resolved for r in world.records.recoveries("main", EVERYTHING))


async def test_a_fill_in_the_middle_of_a_look_at_the_venue_alarms_nobody(tmp_path: Path) -> None:
    async with ibkr.harness(CASH) as venue:
        assert isinstance(venue, IbkrHarness)

        async def misbehave(minute: int) -> None:
            if minute == 3:
                venue.misbehave(Misbehaviour.LATE_FILL)
                venue.misbehave(Misbehaviour.UNTOLD_FILL)
                # After the venue has said what it holds, and before it is asked what was traded.
                venue.account.misbehave(AccountFault.FILLED_MEANWHILE)

        world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, *[NO] * 7), before=misbehave)
        world.away, world.silent = frozenset({3}), frozenset({4, 5})
        await world.run()
        assert not venue.due
        await world.require_agreement()
        assert world.state.state is TradingState.ACTIVE
        told = world.records.recoveries("main", EVERYTHING)
        assert all(recovery.resolved for recovery in told)
        assert sum(recovery.adopted_fills for recovery in told) == 1


async def test_what_the_venue_refuses_is_not_asked_for_every_minute(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    async def misbehave(minute: int) -> None:
        if minute == 0:
            for _ in range(5):
                venue.misbehave(Misbehaviour.REJECTED)

    world = VenueWorld(tmp_path, venue, (UP, NO, NO, NO, NO), before=misbehave)
    await world.run()
    assert [order.status for order in world.orders()] == [OrderStatus.REJECTED]


async def test_a_disconnection_in_the_middle_of_an_order_hides_nothing(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    async def cut(minute: int) -> None:
        if minute in {0, 3}:
            venue.misbehave(Misbehaviour.DISCONNECTED)
            await venue.trade(venue.price)

    world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, *[NO] * 5), after=cut)
    await world.run()
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE


async def test_a_stop_and_a_start_in_the_middle_of_a_position_change_nothing(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    world = VenueWorld(tmp_path, venue, (UP, NO, NO, NO, NO, DOWN, NO, NO))
    await world.run(upto=3)
    held = world.records.holdings("main").position(venue.instrument).quantity
    assert held > 0
    await world.run(upto=5)
    assert world.records.holdings("main").position(venue.instrument).quantity == held
    await world.run()
    await world.require_agreement()
    await world.require_each_order_once()
    assert world.state.state is TradingState.ACTIVE


async def test_what_was_traded_before_an_account_began_is_in_its_cash_already(
    venue: BrokerHarness, tmp_path: Path
) -> None:
    async with venue.broker() as broker:
        for name, side in (("in", Side.BUY), ("out", Side.SELL)):
            await broker.rules([venue.instrument])
            held = (await broker.account([venue.instrument])).positions.get(venue.instrument, venue.quantity)
            await broker.submit(by_hand(venue, name, side, held))
            await venue.trade(venue.price * Decimal("1.01"))
    world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, NO, NO, NO))
    await world.run()
    await world.require_agreement()
    assert world.state.state is TradingState.ACTIVE


def by_hand(venue: BrokerHarness, name: str, side: Side, quantity: Decimal) -> Order:
    now = venue.now()
    return Order(
        account="main",
        client_order_id=client_order_id("main", "hand", venue.instrument, now, name),
        strategy_id="hand",
        instrument=venue.instrument,
        side=side,
        quantity=quantity,
        type=OrderType.MARKET,
        limit_price=None,
        reference_price=venue.price,
        reduces=False,
        decided_at=now,
        valid_until=now + timedelta(minutes=1),
        recorded_at=now,
        reason="by hand",
    )


async def test_yen_are_converted_and_nights_are_paid_for(tmp_path: Path) -> None:
    async with oanda.harness(CASH) as venue:
        assert isinstance(venue, OandaHarness)
        venue.instrument, venue.price = InstrumentId(Venue.OANDA, "USD_JPY"), Decimal("150.000")

        async def night(minute: int) -> None:
            if minute in {1, 5}:
                venue.book.finance({"USD_JPY": Decimal("1.2345")})

        world = VenueWorld(tmp_path, venue, SCRIPT, after=night)
        await world.run()
        await world.require_agreement()
        assert world.state.state is TradingState.ACTIVE
        assert not any(r.discrepancies for r in world.records.recoveries("main", EVERYTHING))
        equity = world.records.equity("main", EVERYTHING)[0].equity
        assert abs(equity - venue.book.balance) < CENTS + abs(venue.book.unrealised("USD_JPY"))


async def test_interest_that_no_message_tells_of_is_booked_and_told(tmp_path: Path) -> None:
    async with ibkr.harness(CASH) as venue:
        assert isinstance(venue, IbkrHarness)

        async def pay(minute: int) -> None:
            if minute == 0:
                venue.account.cash += Decimal("12.34")

        world = VenueWorld(tmp_path, venue, (NO, NO, UP, NO, DOWN, NO, NO), before=pay)
        await world.run()
        await world.require_agreement()
        assert world.state.state is TradingState.ACTIVE
        (told,) = [r for r in world.recoveries if r.discrepancies]
        assert told.resolved
        assert told.discrepancies[0].value == Decimal("12.34")


async def test_more_than_a_minor_sum_is_a_persons_to_explain(tmp_path: Path) -> None:
    async with ibkr.harness(CASH) as venue:
        assert isinstance(venue, IbkrHarness)

        async def pay(minute: int) -> None:
            if minute in {0, 1}:
                venue.account.cash += Decimal(60)

        world = VenueWorld(tmp_path, venue, (NO, NO, NO, UP, NO), before=pay)
        world.calm *= 3
        await world.run()
        assert world.state.state is TradingState.REDUCING
        assert not world.orders()


@pytest.mark.parametrize("seconds", [30, -30])
async def test_a_clock_that_jumps_against_the_venues_costs_no_order(tmp_path: Path, seconds: int) -> None:
    async with binance.harness(CASH) as venue:
        assert isinstance(venue, BinanceHarness)

        async def skew(minute: int) -> None:
            if minute == 0:  # before the first trade: no venue's own time ever runs backwards between two
                venue.exchange.advance(timedelta(seconds=seconds))

        world = VenueWorld(tmp_path, venue, (UP, NO, NO, DOWN, *[NO] * 5), before=skew)
        await world.run()
        await world.require_agreement()
        await world.require_each_order_once()
        assert world.state.state is TradingState.ACTIVE, world.state.restrictions


async def ended(process: asyncio.subprocess.Process) -> None:
    """By force, if it has not come to its end."""
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_a_trader_killed_in_the_middle_of_an_order_recovers(tmp_path: Path) -> None:
    async with binance.harness(CASH) as venue:
        assert isinstance(venue, BinanceHarness)
        scores = (UP, NO, NO, DOWN, NO, NO)
        world = VenueWorld(tmp_path, venue, scores)
        settings = binance.settings_of(venue.exchange).model_dump(mode="json")
        about = {
            "now": venue.now().isoformat(),
            "scores": scores,
            "settings": {**settings, "api_key": KEY, "api_secret": SECRET},
        }
        command = [sys.executable, "-m", "tests.integration.trader_child", str(tmp_path), json.dumps(about)]
        # The venue takes the order, and answers long after the trader is dead.
        venue.exchange.faults.add(Fault(FaultKind.SLOW, path="order.place", seconds=10.0))
        first = await asyncio.create_subprocess_exec(*command)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not venue.exchange.account.orders:
                await asyncio.sleep(0.01)
        await ended(first)
        assert [order.status for order in world.orders()] == [OrderStatus.RECORDED]
        assert world.state.status is RunStatus.RUNNING
        second = await asyncio.create_subprocess_exec(*command)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await second.wait() == 0
        finally:
            await ended(second)
        await world.require_agreement()
        await world.require_each_order_once()
        assert world.state.state is TradingState.ACTIVE
        kinds = [r.kind for r in world.records.recoveries("main", EVERYTHING)]
        assert RecoveryKind.CRASH in kinds


async def verb(folder: Path, venue: BinanceHarness, **changed: str) -> tuple[int, str]:
    """Exit code and messages of `autotrader trade --broker binance`."""
    settings = binance.settings_of(venue.exchange)
    environment = {
        "PATH": os.environ["PATH"],
        "AUTOTRADER_HOME": str(folder),
        "AUTOTRADER_DATABASE_URL": f"sqlite:///{folder}/autotrader.db",
        "AUTOTRADER_VENUES": '["binance"]',
        "AUTOTRADER_BINANCE__REST_URL": settings.rest_url,
        "AUTOTRADER_BINANCE__ACCOUNT_STREAM_URL": settings.account_stream_url,
        "AUTOTRADER_BINANCE__API_KEY": KEY,
        "AUTOTRADER_BINANCE__API_SECRET": SECRET,
        **changed,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "autotrader.apps.trader", "--broker", "binance", "--quiet",
        cwd=folder, env={name: value for name, value in environment.items() if value},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            said, _ = await process.communicate()
    finally:
        await ended(process)
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("changed", "withdraws", "code", "said"),
    [
        ({}, True, ExitCode.REFUSED, "cannot withdraw"),
        ({"AUTOTRADER_BINANCE__API_SECRET": NOT_OURS}, False, ExitCode.FAILED, "refused the signature"),
        (
            {"AUTOTRADER_BINANCE__API_KEY": "", "AUTOTRADER_BINANCE__API_SECRET": ""},
            False,
            ExitCode.USAGE,
            "no key is set",
        ),
        ({"AUTOTRADER_BINANCE__REST_URL": "http://127.0.0.1:9"}, False, ExitCode.UNREACHABLE, "unreachable"),
    ],
)
async def test_no_order_without_a_confirmed_credential_that_cannot_withdraw(
    tmp_path: Path, changed: dict[str, str], withdraws: bool, code: ExitCode, said: str
) -> None:
    async with binance.harness(CASH) as venue:
        assert isinstance(venue, BinanceHarness)
        venue.exchange.clock.set(now=datetime.now(UTC), speed=1.0)
        permissions = venue.exchange.account_api.permissions
        assert permissions is not None
        permissions["enableWithdrawals"] = withdraws
        ended, message = await verb(tmp_path, venue, **changed)
        assert (ended, said in message) == (code, True), message
        assert not venue.exchange.account.orders


class Standing(SettableClock):
    """A market clock that a test moves."""

    is_replay = False


async def test_the_first_bar_after_a_weekend_is_the_next_one(tmp_path: Path) -> None:
    friday = datetime(2024, 3, 1, 21, 30, tzinfo=UTC)
    monday = datetime(2024, 3, 4, tzinfo=UTC)
    sunday = datetime(2024, 3, 3, 22, tzinfo=UTC)
    clock = Standing(sunday + timedelta(seconds=210))
    closed = pl.col("ts").is_between(friday + timedelta(minutes=30), sunday, closed="left")
    bars = made_bars(Venue.OANDA, "EUR_USD", friday, monday).filter(~closed)
    with OandaServer({"EUR_USD": bars}, now=clock.now()) as server:
        settings = OandaSettings(rest_url=server.url, token=SecretStr(server.token))
        source = OandaSource(settings, clock, SystemWallClock())
        instrument = InstrumentId(Venue.OANDA, "EUR_USD")
        feed = LiveFeed(
            PolledBars(source, clock, 2.0),
            source.available,
            decode_page,
            [instrument],
            Interval.M1,
            friday + timedelta(minutes=25),
        )
        seen: list[datetime] = []
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), contextlib.aclosing(feed.batches()) as batches:
                async for batch in batches:
                    seen.append(batch.ts)
                    if len(seen) == 8:
                        break
        finally:
            await source.aclose()
    minutes = [timedelta(minutes=n) for n in range(25, 30)]
    assert seen == [*(friday + n for n in minutes), *(sunday + timedelta(minutes=n) for n in range(3))]
