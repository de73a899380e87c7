"""Each panel with nothing, with something, with hostile words, and with a source that fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn, get_type_hints

import httpx
import polars as pl
import pytest

from autotrader.apps.api.application import create_application
from autotrader.apps.console.panel import Failed, Filled, Missing, Panel
from autotrader.apps.console.panels.account import ACCOUNT
from autotrader.apps.console.panels.alerts import ALERTS, SHOWN
from autotrader.apps.console.panels.catalogue import PANELS
from autotrader.apps.console.panels.deployment import DEPLOYMENT
from autotrader.apps.console.panels.drift import DRIFT
from autotrader.apps.console.panels.freshness import FRESHNESS
from autotrader.apps.console.panels.models import MODELS
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.bootstrap import open_ports
from autotrader.db.events import record_events
from autotrader.domain.errors import Unreachable
from autotrader.domain.orders import Side
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.alerts import AlertState
from autotrader.ports.events import Event, EventType
from autotrader.ports.registry import Alias
from autotrader.ports.trading import Restriction
from tests.fakes.clocks import LiveAt
from tests.unit.apps.api.account import BTC, MARKET, MINUTE, TradedAccount
from tests.unit.apps.console.conftest import HOSTILE, World, amounts, words
from tests.unit.deployment.test_controller import begin

ESCAPED = "&lt;script&gt;"
GATES = {
    "name": ["sharpe", "ece"],
    "kind": ["performance", "integrity"],
    "value": [1.23456, None],
    "comparison": [">", "<="],
    "bound": [2.0, 0.05],
    "outcome": ["fail", "pass"],
    "enforced": [True, True],
    "reason": ["Sharpe 1.23 is below 2.00", HOSTILE],
    "source": ["contract", "contract"],
}


def verdict(*features: tuple[str, str, float | None], reason: str = "rsi_14 moved") -> dict[str, object]:
    rows = [{"name": n, "severity": s, "psi": p, "p_value": 0.0001} for n, s, p in features]
    checks = {
        name: {"name": name, "severity": "healthy", "decided": True, "reason": reason, "figures": {}}
        for name in ("quality", "performance")
    }
    drift = {
        "name": "drift",
        "severity": "critical",
        "decided": True,
        "reason": reason,
        "figures": {"features": rows},
    }
    return {
        "health": "critical",
        "reason": reason,
        "what_to_do": ["Compare the moved features' values"],
        "model": "v1.0.0",
        "market_time": MARKET.isoformat(),
        "checks": {"drift": drift, **checks},
    }


def alert(world: World, key: str, message: str, **data: Any) -> None:
    at = world.sources.clock.now()
    world.container.events.record(Event(key, EventType.ALERT, "critical", message, "tests", at, data=data))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
async def test_a_panel_without_anything_says_what_is_missing(world: World, panel: Panel) -> None:
    if panel is MODELS:
        world.deployment.registry._versions.clear()
    content = await world.content(panel)
    assert isinstance(content, Missing), content
    html = await world.html(panel)
    assert content.what in words(html)
    assert (content.command or content.dag) in html
    if panel is not ALERTS:
        assert "To fill it" in html


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
async def test_a_source_that_fails_empties_its_panel_and_says_why(world: World, panel: Panel) -> None:
    world.write_verdict("{")

    def down() -> NoReturn:
        raise Unreachable("expected the source to answer, was postgresql://trader:hunter2@db: try again")

    names = ("registry", "deployment", "records", "alerts", "lake")
    world.sources = replace(world.sources, **dict.fromkeys(names, down))
    content = await world.content(panel)
    assert isinstance(content, Failed), content
    assert content.reason.startswith("expected ")
    html = await world.html(panel)
    assert "Cannot be shown now." in html
    assert "hunter2" not in html
    assert "Traceback" not in html


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
async def test_a_panel_that_breaks_names_the_error_and_no_more(world: World, panel: Panel) -> None:
    def broken(_: object) -> NoReturn:
        raise RuntimeError("password=hunter2")

    content = await world.content(replace(panel, read=broken))
    assert isinstance(content, Failed)
    assert "RuntimeError" in content.reason
    assert "hunter2" not in content.reason


async def test_the_account_shows_what_the_api_answers(world: World) -> None:
    account = TradedAccount(world.records, now=world.sources.clock.now())
    account.trade(BTC, Side.BUY, "0.25", "40000", MARKET, fee="4.2")
    for k, price in enumerate(("40000", "40400", "39000.5")):
        account.bar(MARKET + k * MINUTE, {BTC: price})
    html = await world.html(ACCOUNT)
    wanted = get_type_hints(create_application)
    del wanted["return"]
    with open_ports(wanted, world.sources.settings) as ports:
        api = create_application(**ports)
    transport = httpx.ASGITransport(api, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8010") as client:
        pnl = (await client.get("/api/pnl")).json()
        (held,) = (await client.get("/api/positions")).json()["positions"]
    expected = [
        *(pnl[name] for name in ("equity", "total", "daily", "unrealised", "fees")),
        *(held[name] for name in ("quantity", "average_price", "price", "value", "unrealised_pnl")),
    ]
    assert list(amounts(html)) == expected
    assert 'class="spark"' in html
    assert "ACTIVE" in html
    assert "breaker closed" in html


async def test_a_tripped_breaker_is_shown_with_its_reason_and_no_markup_of_it(world: World) -> None:
    account = TradedAccount(world.records, now=world.sources.clock.now() - timedelta(hours=2))
    account.restrict(Restriction(Cause.DRAWDOWN, TradingState.HALTED, HOSTILE, MARKET, "breaker"))
    html = await world.html(ACCOUNT)
    assert "HALTED" in html
    assert "circuit breaker TRIPPED" in html
    assert "trader silent for 2.0 h" in html
    assert ESCAPED in html
    assert "<script" not in html


async def test_another_account_is_shown_as_what_it_is(world: World) -> None:
    TradedAccount(world.records, now=world.sources.clock.now(), name="replay-1")
    text = words(await world.html(ACCOUNT))
    assert "No trader has run for the account main of the settings" in text
    assert "account replay-1 at paper" in text


async def test_models_are_shown_with_their_gates(world: World) -> None:
    begin(world.deployment, world.deployment.versions[0])
    world.deployment.run()
    world.tracker.start_run(key="run-0", name="training")
    world.tracker.log_table("run-0", "gates.json", GATES)
    html = await world.html(MODELS)
    assert "Gates: 1 failed, 1 passed (1 of them enforced and not passed)" in html
    assert "1.235" in html
    assert ESCAPED in html
    assert "<script" not in html
    text = words(html)
    assert text.index("Champion v1.0.0 production") < text.index("Challenger None is rolling out.")
    world.tracker.reachable = False
    assert await world.html(MODELS) == html  # a gate report never changes: it was kept


async def test_models_are_shown_without_gates_while_the_tracking_server_is_down(world: World) -> None:
    begin(world.deployment, world.deployment.versions[0])
    world.deployment.run()
    world.tracker.reachable = False
    text = words(await world.html(MODELS))
    assert "Champion v1.0.0" in text
    assert "Gates cannot be shown now. expected the tracking server to answer, was switched off" in text


async def test_the_deployment_is_shown_as_it_is_recorded(world: World) -> None:
    begin(world.deployment, world.deployment.versions[0])
    world.deployment.run()
    world.deployment.registry.set_alias(
        "autotrader-strategy", Alias.CHALLENGER, world.deployment.versions[1], reason="r", actor="a"
    )
    text = words(await world.html(DEPLOYMENT))
    assert "v1.0.0 blue live since 2024-03-01" in text
    assert "binance:BTCUSDT 100 % 0 % v1.0.0" in text
    del world.deployment.target.running[world.deployment.records.live().candidate]  # type: ignore[union-attr]
    assert "does NOT answer as ready" in words(await world.html(DEPLOYMENT))


async def test_drift_shows_all_that_is_not_well_and_the_newest_report(world: World) -> None:
    world.write_verdict(verdict(("old", "healthy", 0.1)), "20240301T000000-old")
    moved = [(f"feature_{k}", "critical", 0.5) for k in range(10)]
    folder = world.write_verdict(verdict(*moved, (HOSTILE, "healthy", None), reason=HOSTILE), "new")
    html = await world.html(DRIFT)
    assert f"/trading/reports/health/{folder.name}/index.html" in html
    content = await world.content(DRIFT)
    assert isinstance(content, Filled)
    assert content.values["shown"] == 10
    assert html.count('<tr><th scope="row">') == 11
    assert "–" in html  # a PSI that is not known
    assert ESCAPED in html
    assert "<script" not in html


@pytest.mark.parametrize("text", ["[]", "{}", '{"checks": {"drift": null}}', "{"])
async def test_a_damaged_verdict_is_named(world: World, text: str) -> None:
    world.write_verdict(text)
    content = await world.content(DRIFT)
    assert isinstance(content, Failed)
    assert "20240301T000000-run/verdict.json" in content.reason


async def test_freshness_is_of_market_time(world: World) -> None:
    from autotrader.data.bars import BarStore
    from tests.fakes.holds import InMemoryHolds

    end = MARKET - timedelta(hours=2)
    candles = SimulatedMarket(symbols=("BTCUSDT",), seed=1, end=end, days=1).candles("BTCUSDT")
    bars = candles.with_columns(
        venue=pl.lit("binance"),
        instrument=pl.lit("BTCUSDT"),
        interval=pl.lit("1m"),
        known_at=pl.col("ts") + MINUTE,
        ingested_at=pl.lit(end),
        source=pl.lit("recorded"),
        spread=pl.lit(None, pl.Float64),
    )
    BarStore(world.container.lake, InMemoryHolds()).upsert([bars], commit_key="one")
    text = words(await world.html(FRESHNESS))
    assert "binance:BTCUSDT STALE 2.0 h behind, overdue 2024-03-01 09:59 UTC no rows" in text
    assert "binance:ETHUSDT no rows no rows" in text
    for hours, said in ((0, "STALE 2.0 h behind 2024"), (17, "STALE 19.0 h behind, overdue 2024")):
        world.sources = replace(world.sources, market_clock=LiveAt(MARKET + timedelta(hours=hours)))
        assert said in words(await world.html(FRESHNESS)), "live, a data run is due, not the newest bar"


def _take_up(world: World) -> None:
    world.container.alerts.take_up(world.sources.clock.now())


@pytest.mark.parametrize("taken_up", [True, False], ids=["taken up", "not taken up yet"])
async def test_open_alerts_lead_to_their_runbooks(world: World, taken_up: bool) -> None:
    alert(world, "1", HOSTILE, alert="CircuitBreakerTripped", fingerprint="breaker")
    alert(world, "2", "over", alert="PostgresDown", fingerprint="db")
    alert(world, "3", "over", alert="PostgresDown", fingerprint="db", resolved=True)
    alert(world, "4", "js", alert="ServiceDown", fingerprint="js", runbook="javascript:alert(1)")
    if taken_up:
        _take_up(world)
    html = await world.html(ALERTS)
    assert 'href="/trading/runbooks/alerts/CircuitBreakerTripped.md"' in html
    assert html.count("<li ") == 2
    assert "PostgresDown" not in html
    assert "javascript:" not in html
    assert ESCAPED in html
    assert "<script" not in html


async def test_an_old_critical_alert_is_not_hidden_by_newer_ones_that_matter_less(world: World) -> None:
    alert(world, "old", "the first of all", fingerprint="old")
    _take_up(world)
    events = [
        Event(f"w{k}", EventType.ALERT, "warning", "slow", "tests", world.sources.clock.now())
        for k in range(SHOWN + 10)
    ]
    with world.container.engine.begin() as connection:
        record_events(connection, events)
    _take_up(world)
    html = await world.html(ALERTS)
    assert "the first of all" in html
    assert html.count("<li ") == SHOWN


async def test_an_alert_that_was_resolved_is_open_no_more(world: World) -> None:
    alert(world, "1", "down", alert="PostgresDown", fingerprint="db")
    _take_up(world)
    (open_one,) = world.container.alerts.list(states=[AlertState.OPEN])
    now = world.sources.clock.now()
    done = Event("done", EventType.AUDIT, "info", "resolved", "tests", now)
    assert world.container.alerts.resolve(open_one.id, actor="mia", reason="up again", now=now, event=done)
    assert isinstance(await world.content(ALERTS), Missing)
