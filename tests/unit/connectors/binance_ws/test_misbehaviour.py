"""Each thing that a venue does wrong, and what the caller gets."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

import aiohttp
import polars as pl
import pytest

from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.market import CANDLES
from autotrader.apps.exchange.server import StandInExchange
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.connectors.binance_ws import client as client_module
from autotrader.connectors.binance_ws.decode import decode_page
from autotrader.connectors.binance_ws.source import BinanceSource, page_windows
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.bars import Interval
from autotrader.domain.errors import Throttled, Unreachable
from autotrader.ports.market_data import RawPage

from .conftest import MARKET_END

Connect = Callable[..., BinanceSource]
MINUTE = timedelta(minutes=1)
START = MARKET_END - timedelta(minutes=1500)
PAGES = list(page_windows(START, MARKET_END, Interval.M1))
SPOILT = START + timedelta(minutes=40)
TRANSIENT = [
    FaultKind.THROTTLED,
    FaultKind.SERVER_ERROR,
    FaultKind.HTML,
    FaultKind.TRUNCATED,
    FaultKind.RESET,
]


async def fetch(source: BinanceSource, kept: list[RawPage] | None = None) -> list[RawPage]:
    """All pages; what came before a failure stays in `kept`."""
    kept = [] if kept is None else kept
    async for page in source.pages("BTCUSDT", Interval.M1, START, MARKET_END):
        kept.append(page)
    return kept


def decoded(pages: list[RawPage]) -> pl.DataFrame:
    return pl.concat([decode_page(page) for page in pages]).select(list(CANDLES))


@pytest.fixture
def truth(market: SimulatedMarket) -> pl.DataFrame:
    return market.candles("BTCUSDT").filter(pl.col("ts") >= START).select(list(CANDLES))


@pytest.fixture
def spoil(exchange: StandInExchange) -> Callable[[FaultKind], None]:
    """Spoils one bar, on every request for it."""

    def spoil(kind: FaultKind) -> None:
        exchange.faults.add(Fault(kind, count=None, start=SPOILT, end=SPOILT + MINUTE))

    return spoil


@pytest.mark.parametrize("kind", TRANSIENT)
async def test_what_passes_is_got_over(
    kind: FaultKind, connect: Connect, exchange: StandInExchange, truth: pl.DataFrame
) -> None:
    exchange.faults.add(Fault(kind, count=2, seconds=0))
    assert decoded(await fetch(connect())).equals(truth)
    assert exchange.faults.due() == []


@pytest.mark.parametrize("kind", TRANSIENT)
async def test_what_lasts_is_raised_after_the_pages_before_it(
    kind: FaultKind, connect: Connect, exchange: StandInExchange
) -> None:
    second_page = PAGES[1].start
    exchange.faults.add(Fault(kind, count=None, seconds=0, start=second_page, end=MARKET_END))
    kept: list[RawPage] = []
    with pytest.raises(Throttled if kind is FaultKind.THROTTLED else Unreachable):
        await fetch(connect(), kept)
    assert [page.end for page in kept] == [second_page]


@pytest.mark.parametrize("path", ["time", "exchangeInfo"])
@pytest.mark.parametrize("kind", TRANSIENT)
async def test_other_requests_get_over_it_too(
    kind: FaultKind, path: str, connect: Connect, exchange: StandInExchange, truth: pl.DataFrame
) -> None:
    exchange.faults.add(Fault(kind, path=path, seconds=0))
    source = connect()
    assert await source.available(["BTCUSDT"]) == {}
    assert decoded(await fetch(source)).equals(truth)


async def test_an_answer_that_takes_too_long_is_asked_for_again(
    connect: Connect, exchange: StandInExchange, truth: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "TIMEOUTS", aiohttp.ClientTimeout(sock_read=0.2))
    exchange.faults.add(Fault(FaultKind.SLOW, seconds=60.0))
    often = RetryPolicy(attempts=100, first_wait_seconds=0.01, longest_wait_seconds=0.05)
    assert decoded(await fetch(connect(retry=often))).equals(truth)


async def test_a_slow_answer_is_waited_for(
    connect: Connect, exchange: StandInExchange, truth: pl.DataFrame
) -> None:
    exchange.faults.add(Fault(FaultKind.SLOW, seconds=0.3))
    assert decoded(await fetch(connect())).equals(truth)
    assert exchange.traffic.requests["klines"] == len(PAGES)


async def test_duplicate_bars_arrive_as_sent(connect: Connect, spoil: Callable[[FaultKind], None]) -> None:
    spoil(FaultKind.DUPLICATE)
    times = decoded(await fetch(connect()))["ts"]
    assert len(times) == 1501
    assert times.filter(times.is_duplicated()).to_list() == [SPOILT] * 2


async def test_bars_out_of_order_arrive_as_sent(
    connect: Connect, exchange: StandInExchange, truth: pl.DataFrame
) -> None:
    exchange.faults.add(Fault(FaultKind.OUT_OF_ORDER, start=SPOILT, end=SPOILT + 3 * MINUTE))
    bars = decoded(await fetch(connect()))
    assert bars["ts"][40:43].to_list() == [SPOILT + 2 * MINUTE, SPOILT + MINUTE, SPOILT]
    assert bars.sort("ts").equals(truth)


async def test_a_restated_bar_differs_from_what_was_fetched_before(
    connect: Connect, spoil: Callable[[FaultKind], None], truth: pl.DataFrame
) -> None:
    source = connect()
    assert decoded(await fetch(source)).equals(truth)
    spoil(FaultKind.RESTATED)
    again = decoded(await fetch(source))
    changed = again.filter(again["close"] != truth["close"])
    assert changed["ts"].to_list() == [SPOILT]
    assert again.filter(pl.col("ts") != SPOILT).equals(truth.filter(pl.col("ts") != SPOILT))


async def test_a_gap_stays_a_gap(
    connect: Connect, spoil: Callable[[FaultKind], None], truth: pl.DataFrame
) -> None:
    spoil(FaultKind.GAP)
    assert decoded(await fetch(connect())).equals(truth.filter(pl.col("ts") != SPOILT))


@pytest.mark.parametrize(
    ("kind", "column", "is_spoilt"),
    [
        (FaultKind.NAN, "close", math.isnan),
        (FaultKind.ZERO, "low", lambda price: price == 0),
        (FaultKind.NEGATIVE, "open", lambda price: price < 0),
    ],
)
async def test_prices_without_sense_arrive_for_the_quality_checks(
    kind: FaultKind,
    column: str,
    is_spoilt: Callable[[float], bool],
    connect: Connect,
    spoil: Callable[[FaultKind], None],
    truth: pl.DataFrame,
) -> None:
    spoil(kind)
    bars = decoded(await fetch(connect()))
    assert is_spoilt(bars.filter(pl.col("ts") == SPOILT)[column].item())
    assert bars.filter(pl.col("ts") != SPOILT).equals(truth.filter(pl.col("ts") != SPOILT))


async def test_an_unclosed_bar_is_never_returned(
    connect: Connect, exchange: StandInExchange, truth: pl.DataFrame
) -> None:
    exchange.faults.add(Fault(FaultKind.UNCLOSED, count=None))
    pages = await fetch(connect())
    assert str(int(MARKET_END.timestamp() * 1000)).encode() in pages[-1].payload
    assert decoded(pages).equals(truth)
