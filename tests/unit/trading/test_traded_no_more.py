"""An instrument is taken out of the settings while the account still has some of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.paper_broker import PaperBroker
from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.positions import Holdings, Position
from autotrader.domain.trading import TradingState
from autotrader.ports.broker import VenueAccount
from autotrader.ports.trading import Lease, Page
from autotrader.trading.book import Book, Money
from autotrader.trading.opening import opened, set_aside
from tests.fakes.clocks import SettableClock
from tests.fakes.trading import InMemoryTradingRecords
from tests.trading import BTC, ETH, Scores, World, walk
from tests.unit.trading.account import EUR, NOW, PRICES, RULES, D

WALL = datetime(2026, 11, 21, tzinfo=UTC)


class Coarse:
    """The paper venue, at which a lot of ETH is so large."""

    def __init__(self, paper: PaperBroker, lot: str) -> None:
        self._paper = paper
        self._lot = lot

    def __getattr__(self, name: str) -> Any:
        return getattr(self._paper, name)

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        found = await self._paper.rules(instruments)
        return {i: replace(r, lot=Decimal(self._lot)) if i == ETH else r for i, r in found.items()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """It holds ETH, and is to trade BTC alone from now on."""
    made = World(
        tmp_path,
        walk((BTC, ETH), 20),
        settings=Settings(
            _env_file=None,
            risk={"max_position": 0.001},  # type: ignore[arg-type]
            paper={"participation": 1.0},  # type: ignore[arg-type]
        ),
        predictor=Scores(lambda i, _: 0.6 if i == str(ETH) else 0.0),
    )
    made.run(bars=made.live[:5])
    assert set(_held(made)) == {ETH}
    made.instruments = (BTC,)
    made.bars = [replace(b, bars=tuple(bar for bar in b.bars if bar.instrument == BTC)) for b in made.bars]
    made.predictor = Scores(lambda *_: 0.6)
    return made


def _held(world: World) -> dict[InstrumentId, Decimal]:
    return {i: p.quantity for i, p in world.records.holdings("main").positions.items() if p.quantity}


def test_a_position_in_it_keeps_the_trader_from_starting(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"of binance:ETHUSDT: add it back \(AUTOTRADER_BINANCE__I"):
        world.run(bars=world.live[:8])
    assert len(world.records.equity("main", Page(limit=100))) == 5


def test_dust_of_it_counts_for_nothing_and_trading_goes_on(world: World) -> None:
    dust = _held(world)[ETH]
    world.wrap = lambda paper: Coarse(paper, str(dust * 2))
    world.run(bars=world.live[:10])
    state = world.records.state("main")
    assert state is not None
    assert (state.cursor, state.state) == (world.live[9].ts, TradingState.ACTIVE)
    held = _held(world)
    assert (set(held), held[ETH]) == ({BTC, ETH}, dust)
    assert state.equity == state.cash["USDT"] + held[BTC] * world.live[9].bars[0].price


# ------------------------------------------------------------- the rules, without a world around them


def a_book(positions: Mapping[InstrumentId, str], cash: Mapping[str, str]) -> Book:
    held = {i: Position("main", i, D(units)) for i, units in positions.items()}
    money = {currency: D(amount) for currency, amount in cash.items()}
    return Book(Holdings("main", money, held), (), (), {EUR: RULES[EUR]}, Money("USD", frozenset({"USDT"})))


def test_fees_in_it_are_of_its_dust() -> None:
    book = a_book({ETH: "0.305", EUR: "5"}, {"USDT": "7", "ETH": "-0.3"})
    assert set_aside(book, {ETH: RULES[ETH]}, venue=Venue.BINANCE) == "0.305 of binance:ETHUSDT, -0.3 ETH"
    book = a_book({ETH: "0.31"}, {"ETH": "-0.3"})
    with pytest.raises(ConfigurationError, match=r"0\.31 of binance:ETHUSDT"):
        set_aside(book, {ETH: RULES[ETH]}, venue=Venue.BINANCE)


def test_what_the_venue_has_no_rules_for_is_not_called_dust() -> None:
    with pytest.raises(ConfigurationError, match=r"0\.0001 of binance:ETHUSDT"):
        set_aside(a_book({ETH: "0.0001"}, {}), {}, venue=Venue.BINANCE)
    assert set_aside(a_book({ETH: "0"}, {"USDT": "7", "BNB": "0"}), {}, venue=Venue.BINANCE) == ""


def test_cash_in_its_currency_is_refused_beyond_a_cent() -> None:
    assert set_aside(a_book({}, {"JPY": "0.004"}), {}, venue=Venue.OANDA) == "0.004 JPY"
    with pytest.raises(ConfigurationError, match="was 5000 JPY: add one back that trades it"):
        set_aside(a_book({}, {"JPY": "5000"}), {}, venue=Venue.OANDA)
    with pytest.raises(ConfigurationError, match=r"was 0\.004 BTC"):
        set_aside(a_book({}, {"BTC": "0.004"}), {}, venue=Venue.BINANCE)


def test_a_first_start_without_a_price_of_its_cash_says_what_to_do() -> None:
    book = a_book({}, {})
    account = VenueAccount({"EUR": D(1000)}, {}, NOW)

    def begin() -> None:
        opened(
            InMemoryTradingRecords(),
            Lease("main", "me", 1, WALL),
            book,
            account,
            strategy_id="s",
            venue="oanda",
            source="recorded",
            clock=SettableClock(WALL),
        )

    with pytest.raises(ConfigurationError, match="none of 'EUR', at the first start of account main: fetch"):
        begin()
    book.mark(EUR, PRICES[EUR], NOW)
    begin()
