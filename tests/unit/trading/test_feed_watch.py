from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest

from autotrader.domain.instruments import InstrumentId
from autotrader.domain.positions import Holdings
from autotrader.domain.trading import Cause
from autotrader.trading.accounting import Accounting
from autotrader.trading.bars import Bar, Batch
from autotrader.trading.book import Book, Money
from autotrader.trading.feed_watch import FeedWatch
from autotrader.trading.lease_keeping import LeaseKeeper
from autotrader.trading.outages import Outages
from tests.fakes.clocks import SettableClock
from tests.fakes.trading import InMemoryTradingRecords
from tests.unit.trading.account import BTC, ETH, NOW, RULES, WALL, a_fill, a_state

GONE = {ETH: "the venue has no such symbol"}


class Watched:
    """An account of two instruments whose feed has fallen silent."""

    def __init__(self) -> None:
        clock = SettableClock(WALL)
        records = InMemoryTradingRecords()
        holdings = Holdings("main", {"USDT": Decimal(100_000)})
        self.book = Book(holdings, (), (), RULES, Money("USD", frozenset({"USDT"})))
        keeper = LeaseKeeper(
            records, "main", "me", clock, seconds=15, longest_send_seconds=0, has_ended=lambda _: False
        )
        accounting = Accounting(records, keeper, self.book, a_state(), clock, actor="trader")
        self.outages = Outages(clock)
        self.watch = FeedWatch(accounting, self.outages, (BTC, ETH), clock, actor="trader")
        self.before = NOW
        self.bars(0, BTC, ETH)
        self.outages.note(Cause.FEED, "no bar")

    def bars(
        self, minute: int, *instruments: InstrumentId, unknown: Mapping[InstrumentId, str] | None = None
    ) -> bool:
        """Whether the feed is well with the bars of that minute."""
        closed_at = NOW + timedelta(minutes=minute)
        bars = tuple(Bar(i, 100.0, 100.0, 100.0, 100.0, 1.0, 1.0) for i in instruments)
        for bar in bars:
            self.book.mark(bar.instrument, bar.price, closed_at)
        self.watch.take(Batch(closed_at - timedelta(minutes=1), closed_at, bars, unknown or {}), self.before)
        self.before = closed_at
        return Cause.FEED not in self.outages.ages()


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_one_instrument_is_not_the_feed(watched: Watched) -> None:
    assert not watched.bars(3, ETH)
    assert not watched.bars(4, ETH)
    assert watched.bars(5, BTC, ETH)


def test_instruments_may_come_back_one_after_the_other(watched: Watched) -> None:
    assert not watched.bars(3, ETH)
    assert watched.bars(4, BTC)


def test_a_bar_before_the_silence_is_none_after_it(watched: Watched) -> None:
    assert not watched.bars(1, ETH), "however fresh the other's price is"


def test_a_price_that_has_grown_old_meanwhile_is_not_fresh(watched: Watched) -> None:
    assert not watched.bars(3, BTC)
    assert not watched.bars(9, ETH)
    assert watched.bars(10, BTC)


def test_the_next_silence_is_another_one(watched: Watched) -> None:
    assert watched.bars(3, BTC, ETH)
    watched.bars(4, BTC, ETH)
    watched.outages.note(Cause.FEED, "no bar")
    assert not watched.bars(7, ETH)
    assert watched.bars(8, BTC)


@pytest.mark.parametrize(("units", "awaited"), [("0.1", True), ("0.001", False), (None, False)])
def test_what_the_venue_does_not_know_is_awaited_only_where_it_is_held(
    watched: Watched, units: str | None, awaited: bool
) -> None:
    if units is not None:
        watched.book.take_fill(a_fill(ETH, quantity=units))
    assert watched.bars(3, BTC, unknown=GONE) is not awaited
    assert watched.bars(4, BTC, ETH)
