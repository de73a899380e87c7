"""The paper venue: how it fills, what it refuses, and what it remembers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.adapters.paper_broker import PaperBroker
from autotrader.adapters.paper_journal import PaperJournal
from autotrader.config.settings import PaperSettings
from autotrader.domain.errors import BadData, Rejected
from autotrader.domain.instruments import InstrumentRules, Venue
from autotrader.domain.orders import Order, OrderStatus, Side
from autotrader.trading.bars import Bar, Batch
from tests.fakes.clocks import SettableClock
from tests.unit.trading.account import BTC, ETH, NOW, WALL, an_order

MINUTE = timedelta(minutes=1)
RULES = InstrumentRules(Decimal("0.01"), Decimal("0.001"), Decimal(10), "USDT", "BTC")


def a_broker(journal: Path, rules: InstrumentRules = RULES, **settings: object) -> PaperBroker:
    return PaperBroker(
        "main",
        Venue.BINANCE,
        currency="USDT",
        rules={BTC: rules},
        settings=PaperSettings(**settings),  # type: ignore[arg-type]
        journal=PaperJournal(journal),
        clock=SettableClock(WALL),
    )


def bar(minute: int, price: float, volume: float = 1000.0) -> Batch:
    ts = NOW + minute * MINUTE
    return Batch(ts, ts + MINUTE, (Bar(BTC, price, price, price, price, volume, 0.0),))


def buying(quantity: str = "1", *, limit: str | None = None, id: str = "at1", price: str = "50000") -> Order:
    return replace(an_order(BTC, Side.BUY, quantity, limit=limit, id=id), reference_price=Decimal(price))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "paper" / "main.jsonl"


async def test_an_order_is_filled_at_the_next_open_with_spread_slippage_and_fee(journal: Path) -> None:
    broker = a_broker(journal, slippage_bps=2, half_spread_bps=1, fee_bps=10)
    await broker.submit(buying())
    await broker.take(bar(1, 50_000))
    (fill,) = await broker.fills([BTC], NOW)
    assert fill.price == Decimal("50015.00")
    assert fill.fee == Decimal("50.015")
    assert fill.at == NOW + MINUTE
    assert (await broker.account([BTC])).cash == {"USDT": Decimal(100_000) - Decimal("50065.015")}


async def test_a_share_of_the_volume_is_filled_a_bar(journal: Path) -> None:
    broker = a_broker(journal, participation=0.1)
    await broker.submit(buying("1"))
    await broker.take(bar(1, 50_000, volume=4.0009))
    await broker.take(bar(2, 50_000, volume=0.0))
    await broker.take(bar(3, 50_000, volume=100.0))
    assert [fill.quantity for fill in await broker.fills([BTC], NOW)] == [Decimal("0.400"), Decimal("0.600")]
    assert len({fill.fill_id for fill in await broker.fills([BTC], NOW)}) == 2
    assert await broker.open_orders() == []


async def test_a_bar_fills_once_however_often_it_comes(journal: Path) -> None:
    broker = a_broker(journal, participation=0.1)
    await broker.submit(buying("1"))
    await broker.take(bar(1, 50_000, volume=4))
    await broker.take(bar(1, 50_000, volume=4))
    assert len(await broker.fills([BTC], NOW)) == 1


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (buying("0.0005"), "multiple"),
        (buying("0.001", price="100"), "notional"),
        (buying("3"), "pay at most"),
        (an_order(BTC, Side.SELL, "1"), "sell at most"),
        (an_order(ETH), "instrument of the paper venue"),
    ],
)
async def test_what_a_venue_would_refuse_is_refused(journal: Path, order: Order, why: str) -> None:
    broker = a_broker(journal)
    with pytest.raises(Rejected, match=why):
        await broker.submit(order)
    assert await broker.order(order) is None


async def test_it_comes_back_as_it_was(journal: Path) -> None:
    before = a_broker(journal, participation=0.1)
    for order in (
        buying("1", id="at1"),
        buying("0.5", id="at2", limit="40000"),
        buying("0.1", id="at3", limit="41000"),
    ):
        await before.submit(order)
    await before.cancel(buying(id="at3"))
    await before.take(bar(1, 50_000, volume=4))
    after = a_broker(journal, participation=0.1)
    for broker in (before, after):
        assert [o.status for o in await broker.open_orders()] == [OrderStatus.OPEN] * 2
    assert await after.open_orders() == await before.open_orders()
    assert await after.account([BTC]) == await before.account([BTC])
    assert await after.fills([BTC], NOW) == await before.fills([BTC], NOW)
    assert await after.order(buying(id="at3")) == await before.order(buying(id="at3"))


async def test_rules_are_those_of_the_first_start(journal: Path) -> None:
    a_broker(journal)
    coarser = replace(RULES, lot=Decimal(1), tick=Decimal(1))
    assert await a_broker(journal, coarser).rules([BTC]) == {BTC: RULES}


async def test_a_line_that_a_kill_cut_short_was_never_written(journal: Path) -> None:
    broker = a_broker(journal)
    await broker.submit(buying(id="at1"))
    with journal.open("ab") as file:
        file.write(b'[{"order": "at2", "instru')
    again = a_broker(journal)
    assert [o.client_order_id for o in await again.open_orders()] == ["at1"]
    await again.submit(buying("0.1", id="at3"))
    assert [o.client_order_id for o in await a_broker(journal).open_orders()] == ["at1", "at3"]


def test_damage_amid_the_journal_is_told(journal: Path) -> None:
    a_broker(journal)
    journal.write_bytes(b"nonsense\n" + journal.read_bytes())
    with pytest.raises(BadData, match="line 1"):
        a_broker(journal)


async def test_a_process_of_before_writes_to_what_nobody_reads(journal: Path) -> None:
    old = a_broker(journal)
    await old.submit(buying("0.1", id="at1"))
    new = a_broker(journal)
    await old.submit(buying("0.1", id="at2"))
    await old.take(bar(1, 50_000))
    await new.submit(buying("0.1", id="at3"))
    assert [o.client_order_id for o in await a_broker(journal).open_orders()] == ["at1", "at3"]
    assert [path.name for path in journal.parent.iterdir()] == [journal.name]


async def test_a_bar_is_over_once_its_updates_were_heard(journal: Path) -> None:
    broker = a_broker(journal)
    heard: list[object] = []

    async def listen() -> None:
        async for update in broker.updates():
            await asyncio.sleep(0)
            heard.append(update)

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await broker.submit(buying())
    await broker.take(bar(1, 50_000))
    assert len(heard) == 3  # open, the fill, filled
    task.cancel()
