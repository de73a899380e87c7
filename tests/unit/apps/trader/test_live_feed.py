"""Live is replay: bars that come one by one, in any order of instruments, give the same decisions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from autotrader.apps.trader.live_feed import LiveFeed
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData, NotFound, Unreachable
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.events import EventType
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

    pages: Sequence[RawPage | Exception]
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
            if isinstance(page, Exception):
                raise page
            yield page
        await asyncio.Event().wait()

    async def missing(self, _: Sequence[str]) -> Mapping[str, str]:
        return {}


@dataclass
class Forgetful:
    """Bars of a venue that does not know ETH for some minutes."""

    bars: Sequence[Batch]
    forgets_at: datetime
    knows_again_at: datetime
    asked: list[frozenset[str]] = field(default_factory=list)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    knows_again: bool = False

    async def closed_bars(
        self, first_opens: Mapping[str, datetime], interval: Interval
    ) -> AsyncGenerator[RawPage]:
        self.asked.append(frozenset(first_opens))
        for batch in self.bars:
            for bar in batch.bars:
                symbol = bar.instrument.symbol
                if symbol not in first_opens or batch.ts < first_opens[symbol]:
                    continue
                if bar.instrument == ETH and batch.ts >= self.forgets_at and not self.knows_again:
                    raise NotFound("expected an instrument that the venue knows, was refused")
                if batch.ts == self.knows_again_at and ETH.symbol not in first_opens:
                    await self.caught_up.wait()
                    self.knows_again = True
                    await asyncio.Event().wait()
                yield page_of(bar, batch.ts)
        await asyncio.Event().wait()

    async def missing(self, symbols: Sequence[str]) -> Mapping[str, str]:
        assert set(symbols) == {BTC.symbol, ETH.symbol}
        return {} if self.knows_again else {ETH.symbol: "the venue has no such symbol"}


def replayed(folder: Path, bars: list[Batch]) -> World:
    folder.mkdir()
    world = World(folder, walk((BTC, ETH), MINUTES))
    world.run(bars=bars)
    return world


def feed_of(stream: Stream | Forgetful) -> LiveFeed:
    return LiveFeed(stream, stream.missing, decode, (BTC, ETH), Interval.M1, START, gathering_seconds=LONG)


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


def pages(bars: Sequence[Batch], *, backwards: bool = True) -> list[RawPage | Exception]:
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


@pytest.mark.parametrize("error", [KeyError("k"), BadData("expected JSON, was HTML"), TimeoutError("slow")])
def test_who_waits_for_bars_hears_that_there_will_be_none(tmp_path: Path, error: Exception) -> None:
    bars = World(tmp_path, walk((BTC, ETH), MINUTES)).live
    coming = pages(bars)
    coming.insert(41, error)
    seen: list[datetime | None] = []
    with pytest.raises(type(error)):
        live(tmp_path / "live", feed_of(Stream(coming)), seen.append)
    assert seen[-1] == bars[19].ts, "what came before it is dealt with"


def test_an_instrument_that_the_venue_does_not_know_is_left_out_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotrader.apps.trader.live_feed._RETRY_SECONDS", 0.01)
    monkeypatch.setattr("autotrader.apps.trader.live_feed._ASK_AGAIN_SECONDS", 0.05)
    bars = World(tmp_path, walk((BTC, ETH), MINUTES)).live
    stream = Forgetful(bars, bars[20].ts, bars[60].ts)

    def seen(cursor: datetime | None) -> None:
        if cursor == bars[59].ts:
            stream.caught_up.set()

    happened = live(tmp_path / "live", feed_of(stream), seen)
    without = [
        replace(batch, bars=tuple(bar for bar in batch.bars if bar.instrument != ETH))
        if 20 <= number < 60
        else batch
        for number, batch in enumerate(bars)
    ]
    assert decisions(happened) == decisions(replayed(tmp_path / "a", without))
    both = frozenset({BTC.symbol, ETH.symbol})
    assert stream.asked[0] == stream.asked[-1] == both
    assert set(stream.asked[1:-1]) == {both - {ETH.symbol}}
    events = SqlEventLog(open_database(f"sqlite:///{tmp_path}/live/autotrader.db"))
    told = [event for event in events.recent(type=EventType.ALERT) if event.instrument == str(ETH)]
    assert [event.severity for event in told] == ["info", "critical"]
    assert "the venue has no such symbol" in told[1].message


def _is(page: RawPage | Exception, instrument: InstrumentId, ts: datetime) -> bool:
    return isinstance(page, RawPage) and (page.instrument, page.start) == (
        instrument.symbol,
        ts.astimezone(UTC),
    )
