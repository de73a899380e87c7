"""Positions, PnL and lists are those of the records, to the last digit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from autotrader.domain.orders import Side
from autotrader.domain.positions import Holdings
from autotrader.ports.trading import TradingReads
from tests.unit.apps.api.account import BTC, ETH, INITIAL, MARKET, MINUTE, TradedAccount
from tests.unit.apps.api.conftest import World


async def test_positions_show_price_value_and_unrealised_pnl_of_the_newest_signal(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "0.50000001", "60000.10", MARKET, fee="12.5")
    account.trade(ETH, Side.SELL, "3", "3000", MARKET)
    account.bar(MARKET, {BTC: "61000", ETH: "3100"})
    account.bar(MARKET + MINUTE, {BTC: "60500.55", ETH: "2990"})
    body = (await world.get("/api/positions")).json()
    btc, eth = body["positions"]
    assert (btc["instrument"], btc["quantity"], btc["price"]) == ("binance:BTCUSDT", "0.50000001", "60500.55")
    assert Decimal(btc["average_price"]) == Decimal("60000.10")
    assert Decimal(btc["value"]) == Decimal("0.50000001") * Decimal("60500.55")
    assert Decimal(btc["unrealised_pnl"]) == Decimal("0.50000001") * Decimal("500.45")
    assert btc["priced_at"] == "2024-03-01T12:01:00Z"
    assert (eth["quantity"], Decimal(eth["unrealised_pnl"])) == ("-3", Decimal(30))
    cash = sum(map(Decimal, body["cash"].values()))
    assert Decimal(body["equity"]) == cash + sum(Decimal(p["value"]) for p in body["positions"])


async def test_a_position_without_any_signal_has_no_price_rather_than_an_assumed_one(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    (position,) = (await world.get("/api/positions")).json()["positions"]
    assert position["price"] is position["value"] is position["unrealised_pnl"] is None
    pnl = (await world.get("/api/pnl")).json()
    assert pnl["unrealised"] is None
    assert "no signal tells the price of binance:BTCUSDT" in pnl["not_summed"]


async def test_an_instrument_whose_signals_are_old_is_priced_by_its_own_newest(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    account.bar(MARKET, {BTC: "60100"})
    for minute in range(1, 6):
        account.bar(MARKET + minute * MINUTE, {ETH: "3000"})
    (position,) = (await world.get("/api/positions")).json()["positions"]
    assert position["price"] == "60100"


async def test_a_closed_position_is_a_trade_and_a_position_no_more(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET, fee="10")
    account.trade(BTC, Side.SELL, "1", "60500", MARKET + MINUTE, fee="11")
    account.bar(MARKET + MINUTE, {BTC: "60600"})
    assert (await world.get("/api/positions")).json()["positions"] == []
    (trade,) = (await world.get("/api/trades")).json()["items"]
    assert (trade["side"], trade["pnl"], trade["fees"]) == ("buy", "479", "21")
    body = (await world.get("/api/pnl")).json()
    assert (body["realised"], body["unrealised"], body["total"], body["fees"]) == ("479", "0", "479", "21")


async def test_pnl_adds_up_and_equals_the_records(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET, fee="18")
    account.trade(BTC, Side.SELL, "1", "60100", MARKET, fee="18")
    account.trade(ETH, Side.BUY, "2", "3000", MARKET, fee="1.8")
    for minute, price in enumerate(("3010", "2950", "2990.5")):
        account.bar(MARKET + minute * MINUTE, {ETH: price})
    body = (await world.get("/api/pnl")).json()
    total = account.state.equity - INITIAL
    assert Decimal(body["total"]) == total == Decimal("43.2")
    assert Decimal(body["realised"]) + Decimal(body["unrealised"]) == total
    assert body["daily"] == body["total"]
    assert [point["equity"] for point in body["equity_curve"]] == ["100082.2", "99962.2", "100043.2"]
    figures = body["performance"]
    assert (figures["trades"], figures["winners"], figures["win_rate"]) == (1, 1, 1.0)
    assert (figures["gross_profit"], figures["profit_factor"]) == ("64", None)
    assert figures["max_drawdown"] == pytest.approx(120 / 100082.2)
    assert figures["sharpe"] is None  # of two returns


async def test_amounts_of_several_currencies_are_not_added_up(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET, fee="0.1", fee_currency="BNB")
    account.bar(MARKET, {BTC: "60000"})
    body = (await world.get("/api/pnl")).json()
    assert body["realised"] is body["performance"]["trades"] is None
    assert body["not_summed"].startswith("expected USD alone, was also BNB")


async def test_the_curve_is_thinned_but_keeps_both_ends(world: World) -> None:
    account = world.account()
    for minute in range(40):
        account.bar(MARKET + minute * MINUTE, {BTC: "60000"})
    curve = (await world.get("/api/pnl", points=7)).json()["equity_curve"]
    assert len(curve) == 7
    assert (curve[0]["at"], curve[-1]["at"]) == ("2024-03-01T12:01:00Z", "2024-03-01T12:40:00Z")


async def test_figures_follow_the_account(world: World) -> None:
    account = world.account()
    account.bar(MARKET, {BTC: "60000"})
    before = (await world.get("/api/pnl")).json()["performance"]["end"]
    account.bar(MARKET + MINUTE, {BTC: "60000"})
    world.clock.advance(timedelta(seconds=1))
    after = (await world.get("/api/pnl")).json()["performance"]["end"]
    assert (before, after) == ("2024-03-01T12:01:00Z", "2024-03-01T12:02:00Z")


async def pages(world: World, path: str, **query: Any) -> list[Any]:
    items, offset = [], 0
    while offset is not None:
        body = (await world.get(path, **query, offset=offset)).json()
        assert len(body["items"]) <= body["limit"]
        items.append(body["items"])
        offset = body["next_offset"]
    return items


@pytest.mark.parametrize("path", ["/api/orders", "/api/fills"])
async def test_pages_of_a_list_are_newest_first_and_complete(world: World, path: str) -> None:
    account = world.account()
    for minute in range(5):
        account.trade(BTC, Side.BUY, "0.1", "60000", MARKET + minute * MINUTE)
    found = await pages(world, path, limit=2)
    assert [len(page) for page in found] == [2, 2, 1]
    times = [row.get("decided_at") or row["at"] for page in found for row in page]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 5
    assert [len(page) for page in await pages(world, path, limit=5)] == [5]


async def test_lists_are_filtered_by_instrument_and_time(world: World) -> None:
    account = world.account()
    for minute in range(4):
        account.bar(MARKET + minute * MINUTE, {BTC: "60000", ETH: "3000"})
    only = (await world.get("/api/signals", instrument="binance:ETHUSDT")).json()["items"]
    assert {row["instrument"] for row in only} == {"binance:ETHUSDT"}
    assert len(only) == 4
    body = (
        await world.get(
            "/api/signals",
            start="2024-03-01T13:01:00+01:00",
            end=(MARKET + 3 * MINUTE).isoformat(),
            instrument="binance:BTCUSDT",
        )
    ).json()
    assert [row["ts"] for row in body["items"]] == ["2024-03-01T12:02:00Z", "2024-03-01T12:01:00Z"]


async def test_an_account_that_nobody_traded_is_not_found(world: World) -> None:
    for path in ("/api/positions", "/api/pnl", "/api/orders", "/api/risk"):
        answer = await world.get(path, account="other")
        assert (answer.status_code, answer.json()["error"]) == (404, "not found")
        assert "'other'" in answer.json()["was"]


class _Interrupted:
    """Reads between which the trader buys."""

    def __init__(self, reads: TradingReads, account: TradedAccount) -> None:
        self._reads = reads
        self._account = account

    def holdings(self, name: str) -> Holdings:
        self._account.trade(BTC, Side.BUY, "1", "60000", MARKET + MINUTE)
        return self._reads.holdings(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)


async def test_a_read_of_an_account_is_of_one_revision(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trader writes between the API's look at cash and its look at positions: neither shows it yet."""
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    account.bar(MARKET, {BTC: "60500"})
    at_once = world.records.at_once

    @contextlib.contextmanager
    def interrupted() -> Iterator[_Interrupted]:
        with at_once() as reads:
            yield _Interrupted(reads, account)

    for held in (1, 2):
        revision = account.state.revision
        with monkeypatch.context() as patched:
            patched.setattr(world.records, "at_once", interrupted)
            body = (await world.get("/api/positions")).json()
        assert account.state.revision == revision + 1
        assert (body["revision"], body["positions"][0]["quantity"]) == (revision, str(held))
        cash = sum(map(Decimal, body["cash"].values()))
        assert Decimal(body["equity"]) == cash + held * Decimal(body["positions"][0]["price"])
        account.bar(MARKET + held * MINUTE, {BTC: "60700"})
    with monkeypatch.context() as patched:
        patched.setattr(world.records, "at_once", interrupted)
        pnl = (await world.get("/api/pnl")).json()
    assert pnl["revision"] == account.state.revision - 1
    assert Decimal(pnl["realised"]) + Decimal(pnl["unrealised"]) == Decimal(pnl["total"])
