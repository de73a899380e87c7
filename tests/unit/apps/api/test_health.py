"""Health is what was found, with its reason; what was not found out is unknown, never well."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import get_args

import pytest
import sqlalchemy as sa

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.apps.api.board import HealthBoard
from autotrader.apps.api.checks import Witness, feed
from autotrader.apps.api.routes.health_routes import Component
from autotrader.apps.api.status import Check, ComponentStatus, Finding, degraded, healthy, unhealthy, unknown
from autotrader.domain.errors import Unreachable
from autotrader.domain.trading import Cause, RunStatus, TradingState
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import Restriction
from tests.fakes.clocks import SettableClock
from tests.unit.apps.api.account import BTC, MARKET, MINUTE
from tests.unit.apps.api.conftest import NOW, World


def board_of(
    *checks: Check, told: dict[str, ComponentStatus] | None = None, timeout_seconds: float = 60
) -> HealthBoard:
    tell = (told if told is not None else {}).__setitem__
    return HealthBoard(checks, SystemWallClock(), tell, timeout_seconds=timeout_seconds, interval_seconds=30)


async def test_a_check_that_hangs_is_unhealthy_holds_up_no_other_and_is_begun_once() -> None:
    release, begun = threading.Event(), []

    def hang() -> Finding:
        begun.append(1)
        release.wait(120)
        return healthy("at last")

    told: dict[str, ComponentStatus] = {}
    board = board_of(
        Check("stuck", hang, is_essential=True),
        Check("quick", lambda: healthy("fine"), is_essential=True),
        told=told,
        timeout_seconds=0.2,
    )
    for _ in range(3):
        await board.look()
    while board.results()["quick"].finding != healthy("fine"):  # a machine may be slower than 0.2 s
        await board.look()
    found = board.results()
    assert found["stuck"].finding.status is ComponentStatus.UNHEALTHY
    assert found["stuck"].finding.reason.startswith("expected an answer within 0.2 s, was none for")
    assert found["stuck"].latency_ms is None
    assert found["quick"].finding == healthy("fine")
    assert board.overall() is told["stuck"] is ComponentStatus.UNHEALTHY
    assert len(begun) == 1
    release.set()
    async with asyncio.timeout(60):
        while board.overall() is not ComponentStatus.HEALTHY:
            await board.look()


async def test_a_check_that_raises_is_a_finding() -> None:
    def unreachable() -> Finding:
        raise Unreachable("expected it to answer, was silence")

    def broken() -> Finding:
        raise ZeroDivisionError("secret detail")

    board = board_of(Check("a", unreachable, is_essential=False), Check("b", broken, is_essential=False))
    await board.look()
    found = board.results()
    assert found["a"].finding == unhealthy("expected it to answer, was silence")
    assert found["b"].finding == unhealthy("the check itself failed: ZeroDivisionError")


@pytest.mark.parametrize(
    ("essential", "other", "overall"),
    [
        (healthy("x"), healthy("x"), ComponentStatus.HEALTHY),
        (healthy("x"), unknown("x"), ComponentStatus.HEALTHY),
        (healthy("x"), unhealthy("x"), ComponentStatus.DEGRADED),
        (degraded("x"), healthy("x"), ComponentStatus.DEGRADED),
        (unhealthy("x"), healthy("x"), ComponentStatus.UNHEALTHY),
        (unknown("x"), unknown("x"), ComponentStatus.UNKNOWN),
    ],
)
async def test_the_whole_is_as_ill_as_its_essential_parts(
    essential: Finding, other: Finding, overall: ComponentStatus
) -> None:
    board = board_of(
        Check("e", lambda: essential, is_essential=True), Check("o", lambda: other, is_essential=False)
    )
    assert board.overall() is ComponentStatus.UNKNOWN
    await board.look()
    assert board.overall() is overall


async def test_a_result_that_is_too_old_is_unknown() -> None:
    clock = SettableClock(NOW)
    board = HealthBoard(
        [Check("a", lambda: healthy("fine"), is_essential=True)], clock, lambda *_: None, interval_seconds=30
    )
    await board.look()
    clock.advance(timedelta(seconds=60))
    assert board.overall() is ComponentStatus.HEALTHY
    clock.advance(timedelta(seconds=10))
    assert board.results()["a"].finding == unknown("not looked at for 70 s; before: fine")


async def look(world: World) -> None:
    board: HealthBoard = world.application.state.board
    await board.look()
    while any(result.latency_ms is None for result in board.results().values()):  # still under way
        await board.look()


def test_each_check_has_a_path(world: World) -> None:
    assert list(get_args(Component)) == list(world.application.state.board.checks)


async def test_on_a_machine_where_nothing_runs_only_what_is_there_is_judged(world: World) -> None:
    await look(world)
    body = (await world.get("/api/health")).json()
    found = {name: check["status"] for name, check in body["checks"].items()}
    unknown_ = {name for name, status in found.items() if status == "UNKNOWN"}
    assert unknown_ == {"trader", "broker", "feed", "scheduler", "registry"}
    assert found["database"] == "HEALTHY"
    assert "`make quickstart` starts it" in body["checks"]["scheduler"]["reason"]
    assert "no trader has run for the account main" in body["checks"]["broker"]["reason"]
    assert set(body) == {"status", "timestamp", "version", "uptime", "checks"}
    page = (await world.get("/metrics")).text
    assert 'component_health{component="database"} 1.0' in page
    assert 'component="trader"' not in page


async def test_of_a_living_trader_broker_and_feed_are_what_it_says(world: World) -> None:
    account = world.account()
    account.bar(MARKET, {BTC: "60000"})
    await look(world)
    for name in ("trader", "broker", "feed"):
        body = (await world.get(f"/api/health/{name}")).json()
        assert (body["status"], list(body["checks"])) == ("HEALTHY", [name])
    account.restrict(
        Restriction(Cause.BROKER, TradingState.HALTED, "five calls failed", NOW, "trader"),
        Restriction(Cause.FEED, TradingState.REDUCING, "no bar for 3 minutes", NOW, "trader"),
    )
    await look(world)
    checks = (await world.get("/api/health")).json()["checks"]
    assert checks["broker"]["reason"] == "five calls failed"
    assert checks["feed"]["reason"] == "no bar for 3 minutes"
    assert checks["trader"]["status"] == "DEGRADED"
    assert (await world.get("/health")).status_code == 503


@pytest.mark.parametrize(
    ("age", "status"), [(MINUTE, "HEALTHY"), (30 * MINUTE, "DEGRADED"), (120 * MINUTE, "UNHEALTHY")]
)
async def test_a_live_feed_is_as_well_as_its_newest_bar_is_new(
    world: World, age: timedelta, status: str
) -> None:
    account = world.account()
    account.bar(MARKET - age, {BTC: "60000"})
    account.write(source="live")
    await look(world)
    assert (await world.get("/api/health/feed")).json()["status"] == status


class Moving(StandingMarketClock):
    """A market in the world's own time."""

    is_replay = False


@pytest.mark.parametrize(("age", "status"), [(MINUTE, "HEALTHY"), (120 * MINUTE, "UNHEALTHY")])
def test_a_simulated_market_in_the_worlds_time_is_as_fresh_as_its_newest_bar(
    world: World, age: timedelta, status: str
) -> None:
    account = world.account()
    account.bar(MARKET - age, {BTC: "60000"})
    account.write(source="SIMULATED")
    witness = Witness(world.records, world.settings.trading.account, world.clock)
    assert feed(witness, world.settings, Moving(MARKET)).status == status
    assert feed(witness, world.settings, StandingMarketClock(MARKET)).status == "HEALTHY"


async def test_a_trader_that_lost_its_lease_unnoticed_is_unhealthy_and_a_stopped_one_unknown(
    world: World,
) -> None:
    account = world.account(lease_seconds=15)
    world.clock.advance(timedelta(seconds=16))
    await look(world)
    checks = (await world.get("/api/health")).json()["checks"]
    assert checks["trader"]["status"] == "UNHEALTHY"
    assert checks["broker"]["status"] == checks["feed"]["status"] == "UNKNOWN"
    account.write(status=RunStatus.STOPPED)
    await look(world)
    assert (await world.get("/api/health/trader")).json()["status"] == "UNKNOWN"


@pytest.fixture
def broken_schema(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))


@pytest.mark.usefixtures("broken_schema")
async def test_a_schema_that_is_behind_degrades_the_database(world: World) -> None:
    await look(world)
    body = (await world.get("/api/health/database")).json()
    assert body["status"] == "DEGRADED"
    assert "expected the schema" in body["checks"]["database"]["reason"]


async def test_details_count_what_the_trader_did_in_its_last_day(world: World) -> None:
    account = world.account()
    account.bar(MARKET - timedelta(hours=25), {BTC: "60000"})
    for minute in range(3):
        account.bar(MARKET + minute * MINUTE, {BTC: "60000"})
    body = (await world.get("/api/health/detailed")).json()
    assert body["activity"] == {
        "account": "main",
        "start": "2024-02-29T12:02:00Z",
        "trades": 0,
        "signals": 3,
    }
    assert body["process"]["memory_bytes"] > 10_000_000
    assert body["process"]["threads"] >= 1


async def test_events_are_searched_paged_and_counted(world: World) -> None:
    for k in range(5):
        kind = EventType.ALERT if k % 2 else EventType.RISK
        severity = "critical" if k == 3 else "info"
        at = NOW - timedelta(hours=11 * k)
        world.events.record(Event(f"e{k}", kind, severity, f"event {k}", "tests", at, str(BTC), {"k": k}))
    body = (await world.get("/api/events")).json()
    assert [event["key"] for event in body["items"]] == ["e0", "e1", "e2"]  # of 24 hours
    assert body["limit"] == 100
    long = {"start": (NOW - timedelta(days=9)).isoformat()}
    assert len((await world.get("/api/events", **long)).json()["items"]) == 5
    page = (await world.get("/api/events", **long, limit=2, offset=2)).json()
    assert ([event["key"] for event in page["items"]], page["next_offset"]) == (["e2", "e3"], 4)
    assert [e["key"] for e in (await world.get("/api/alerts", **long)).json()["items"]] == ["e1", "e3"]
    critical = await world.get("/api/events", **long, severity="critical", instrument=str(BTC), type="ALERT")
    assert [event["data"] for event in critical.json()["items"]] == [{"k": 3}]
    summary = (await world.get("/api/events/summary", **long)).json()
    assert summary["by_type"] == {"ALERT": 2, "RISK": 3}
    assert (summary["by_severity"], summary["total"]) == ({"critical": 1, "info": 4}, 5)
