"""Live is replay: bars that come one by one, in any order of instruments, give the same decisions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from autotrader.apps.trader.live_feed import LiveFeed
from autotrader.domain.bars import Interval
from autotrader.domain.errors import Unreachable
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.market_data import RawPage
from autotrader.ports.trading import Page
from autotrader.trading.bars import Bar, Batch
from autotrader.trading.trader import Trader
from tests.trading import BTC, ETH, MINUTE, START, World, walk

MINUTES = 90
COLUMNS = ("open", "high", "low", "close", "volume", "taker_buy_base")
LONG, SHORT = 60.0, 0.05  # seconds in which a minute's bars are gathered


def page_of(bar: Bar, ts: datetime) -> RawPage:
    return RawPage(
        venue=bar.instrument.venue,
        instrument=bar.instrument.symbol,
        interval=Interval.M1,
        start=ts,
        end=ts + MINUTE,
        payload=json.dumps(bar[1:]).encode(),
        media="a test's",
        fetched_at=ts + MINUTE,
        market_time=ts + MINUTE,
        source="recorded",
    )


def decode(page: RawPage) -> pl.DataFrame:
    values = dict(zip(COLUMNS, json.loads(page.payload), strict=True))
    frame = pl.DataFrame(
        {"venue": page.venue.value, "instrument": page.instrument, "ts": [page.start], **values}
    )
    return frame.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


async def at_once(_: int) -> None:
    """The next page comes without a pause."""
    await asyncio.sleep(0)


@dataclass
class Stream:
    """Pages in the given order; an error instead of a page once breaks the connection."""

    pages: Sequence[RawPage | Unreachable]
    before: Callable[[int], Awaitable[None]] = at_once  # each page, by its number
    asked: int = 0
    told: int = 0

    async def closed_bars(
        self, first_opens: Mapping[str, datetime], interval: Interval
    ) -> AsyncGenerator[RawPage]:
        self.asked += 1
        while self.told < len(self.pages):
            page = self.pages[self.told]
            await self.before(self.told)
            self.told += 1
            if isinstance(page, Unreachable):
                raise page
            yield page
        await asyncio.Event().wait()


def replayed(folder: Path, bars: list[Batch]) -> World:
    folder.mkdir()
    world = World(folder, walk((BTC, ETH), MINUTES))
    world.run(bars=bars)
    return world


def feed_of(stream: Stream) -> LiveFeed:
    return LiveFeed(stream, decode, (BTC, ETH), Interval.M1, START, gathering_seconds=LONG)


def live(folder: Path, feed: LiveFeed, seen: Callable[[datetime | None], None] = lambda _: None) -> World:
    folder.mkdir()
    world = World(folder, walk((BTC, ETH), MINUTES))
    last = world.bars[-1].ts

    def watch(trader: Trader) -> None:
        seen(trader.accounting.state.cursor)
        if trader.accounting.state.cursor == last:
            world.session.stop()

    world.run(feed=feed, watch=watch)
    return world


def decisions(world: World) -> object:
    state = world.records.state("main")
    assert state is not None
    orders = world.records.orders("main", Page(limit=1000))
    assert orders
    return state.memory["decision_hash"], [
        (o.client_order_id, o.side, o.quantity, o.limit_price, o.filled, o.status) for o in orders
    ]


def pages(bars: Sequence[Batch], *, backwards: bool = True) -> list[RawPage | Unreachable]:
    order = -1 if backwards else 1
    return [page_of(bar, batch.ts) for batch in bars for bar in batch.bars[::order]]


def test_the_same_bars_replayed_twice_give_the_same_decisions(tmp_path: Path) -> None:
    bars = World(tmp_path, walk((BTC, ETH), MINUTES)).live
    first, second = replayed(tmp_path / "a", bars), replayed(tmp_path / "b", bars)
    assert decisions(first) == decisions(second)


def test_another_price_gives_another_hash(tmp_path: Path) -> None:
    bars = World(tmp_path, walk((BTC, ETH), MINUTES)).live
    changed = list(bars)
    head, *rest = changed[5].bars
    changed[5] = replace(changed[5], bars=(head._replace(volume=head.volume + 1), *rest))
    assert decisions(replayed(tmp_path / "a", bars)) != decisions(replayed(tmp_path / "b", changed))


def test_live_bars_in_any_order_of_instruments_give_the_replays_decisions(tmp_path: Path) -> None:
    bars = World(tmp_path, walk((BTC, ETH), MINUTES)).live
    assert decisions(live(tmp_path / "live", feed_of(Stream(pages(bars))))) == decisions(
        replayed(tmp_path / "a", bars)
    )


def test_a_bar_that_comes_too_late_is_as_if_it_had_not_come(tmp_path: Path) -> None:
    bars = World(tmp_path, walk((BTC, ETH), MINUTES)).live
    coming = pages(bars)
    number = next(n for n, page in enumerate(coming) if _is(page, ETH, bars[30].ts))
    # The page after it is of the same minute; then nothing comes until that has been decided on.
    coming.insert(number + 1, coming.pop(number))
    decided = asyncio.Event()

    async def before(page: int) -> None:
        if page == number:
            feed._gathering = SHORT
        elif page == number + 1:
            await decided.wait()
            feed._gathering = LONG
        await asyncio.sleep(0)

    def seen(cursor: datetime | None) -> None:
        if cursor == bars[30].ts:
            decided.set()

    feed = feed_of(Stream(coming, before))
    without = list(bars)
    without[30] = replace(bars[30], bars=tuple(bar for bar in bars[30].bars if bar.instrument != ETH))
    happened = live(tmp_path / "live", feed, seen)
    assert decisions(happened) == decisions(replayed(tmp_path / "a", without))


def test_an_instrument_that_does_not_trade_holds_up_nobody(tmp_path: Path) -> None:
    bars = [
        replace(batch, bars=batch.bars[:1]) if n % 7 == 3 else batch
        for n, batch in enumerate(World(tmp_path, walk((BTC, ETH), MINUTES)).live)
    ]
    assert decisions(live(tmp_path / "live", feed_of(Stream(pages(bars))))) == decisions(
        replayed(tmp_path / "a", bars)
    )


def test_a_connection_that_breaks_loses_no_bar(tmp_path: Path, monkeypatch: object) -> None:
    monkeypatch.setattr("autotrader.apps.trader.live_feed._RETRY_SECONDS", 0.01)  # type: ignore[attr-defined]
    bars = World(tmp_path, walk((BTC, ETH), MINUTES)).live
    coming = pages(bars)
    coming.insert(40, Unreachable("gone"))
    stream = Stream(coming)
    assert decisions(live(tmp_path / "live", feed_of(stream))) == decisions(replayed(tmp_path / "a", bars))
    assert stream.asked == 2


def _is(page: RawPage | Unreachable, instrument: InstrumentId, ts: datetime) -> bool:
    return isinstance(page, RawPage) and (page.instrument, page.start) == (
        instrument.symbol,
        ts.astimezone(UTC),
    )
