"""What happens is told to all who listen, in order and once; who does not keep up harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from autotrader.apps.api.metrics import ApiMetrics
from autotrader.apps.api.stream import Client, Happening, Message, Poller, Stream
from autotrader.apps.api.watch import ALERT_DELAY, ALERTS, Watch
from autotrader.domain.errors import Unreachable
from autotrader.domain.orders import Side
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import Change
from tests.unit.apps.api.account import BTC, ETH, MARKET, MINUTE
from tests.unit.apps.api.conftest import HERE, NOW, World

ALL = frozenset({"position", "fill", "alert"})


def fill(number: int, account: str = "main") -> Happening:
    return Happening("fill", account, {"n": number})


def numbers(messages: Sequence[Message]) -> list[int]:
    return [message.happening.data["n"] for message in messages]


def joined(stream: Stream, after: str | None = None, **options: Any) -> tuple[Client, list[Message]]:
    found = stream.join(options.get("account", "main"), options.get("kinds", ALL), after)
    assert found is not None
    return found


def test_every_client_gets_what_it_wants_in_order() -> None:
    stream = Stream(ApiMetrics())
    one, _ = joined(stream)
    other, _ = joined(stream, account="other")
    alerts, _ = joined(stream, kinds=frozenset({"alert"}))
    stream.publish([fill(1), fill(2, "other"), Happening("alert", None, {"n": 3})])
    assert numbers(one.queue) == [1, 3]
    assert numbers(other.queue) == [2, 3]
    assert numbers(alerts.queue) == [3]


def test_who_comes_back_with_a_cursor_misses_nothing_and_gets_nothing_twice() -> None:
    stream = Stream(ApiMetrics())
    client, _ = joined(stream)
    stream.publish([fill(1), fill(2)])
    cursor = stream.cursor(client.queue[0].number)
    stream.leave(client)
    stream.publish([fill(3)])
    again, missed = joined(stream, after=cursor)
    stream.publish([fill(4)])
    assert numbers(missed) == [2, 3]
    assert numbers(again.queue) == [4]
    assert numbers(joined(stream, after=stream.cursor())[1]) == []


def test_a_cursor_too_old_or_of_another_process_is_refused() -> None:
    stream = Stream(ApiMetrics(), history=3)
    oldest = stream.cursor()
    stream.publish([fill(n) for n in range(3)])
    assert numbers(joined(stream, after=oldest)[1]) == [0, 1, 2]
    stream.publish([fill(3)])
    for cursor in (
        oldest,
        Stream(ApiMetrics()).cursor(),
        "",
        "x",
        f"{stream.cursor()}9",
        "²",
        stream.cursor(9),
    ):
        assert stream.join("main", ALL, cursor) is None, cursor
    assert stream.clients == 1


def test_a_client_that_does_not_read_is_dropped_and_the_others_go_on() -> None:
    metrics = ApiMetrics()
    stream = Stream(metrics, queue=2)
    slow, _ = joined(stream)
    quick, _ = joined(stream)
    for n in range(4):
        stream.publish([fill(n)])
        assert quick.queue.popleft().happening.data == {"n": n}
    assert slow.dropped.is_set()
    assert not quick.dropped.is_set()
    assert numbers(slow.queue) == [0, 1]  # no more is kept for it
    assert stream.clients == 1
    page = metrics.page().decode()
    assert "stream_dropped_clients_total 1.0" in page
    assert "stream_clients 1.0" in page


# ------------------------------------------------------------------- what there is to be told


def watch_of(world: World) -> Watch:
    watch = Watch(world.records, world.events, world.clock)
    assert watch.look() == ()
    return watch


def alert(world: World, key: str, *, ago: timedelta = timedelta(0)) -> None:
    world.events.record(
        Event(key, EventType.ALERT, "critical", f"alert {key}", "tests", world.clock.now() - ago)
    )


def told(happenings: Sequence[Happening]) -> list[tuple[str, object]]:
    name: dict[str, Callable[[dict[str, Any]], object]] = {
        "fill": lambda data: data["fill_id"],
        "alert": lambda data: data["key"],
        "position": lambda data: (data["instrument"], data["quantity"], data["price"]),
    }
    return [(h.kind, name[h.kind](h.data)) for h in happenings]


def test_what_was_there_before_is_not_told_and_what_is_new_is_told_once(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    alert(world, "old")
    watch = watch_of(world)
    assert watch.look() == []
    account.trade(BTC, Side.BUY, "1", "60000", MARKET + MINUTE)
    alert(world, "new")
    assert told(watch.look()) == [
        ("fill", "2"),
        ("position", ("binance:BTCUSDT", "2", None)),
        ("alert", "new"),
    ]
    assert watch.look() == []


def test_a_new_price_is_news_of_the_position_and_of_that_one_alone(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    account.trade(ETH, Side.BUY, "1", "3000", MARKET)
    account.bar(MARKET, {BTC: "60000", ETH: "3000"})
    watch = watch_of(world)
    account.bar(MARKET + MINUTE, {BTC: "60100"})
    (position,) = watch.look()
    assert position.data["revision"] == account.state.revision
    assert (position.data["instrument"], position.data["unrealised_pnl"]) == ("binance:BTCUSDT", "100")


def test_a_position_that_was_closed_is_told_as_flat(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    watch = watch_of(world)
    account.trade(BTC, Side.SELL, "1", "60000", MARKET + MINUTE)
    assert told(watch.look())[1:] == [("position", ("binance:BTCUSDT", "0", None))]


def test_a_fill_that_a_recovery_adopts_is_told_though_it_is_older_than_others(world: World) -> None:
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    watch = watch_of(world)
    account.trade(BTC, Side.BUY, "1", "60000", MARKET - 60 * MINUTE)
    assert told(watch.look())[0] == ("fill", "2")


def test_an_account_that_appears_is_told_from_its_beginning(world: World) -> None:
    watch = watch_of(world)
    account = world.account(name="second")
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    happenings = watch.look()
    assert told(happenings)[0] == ("fill", "1")
    assert {h.account for h in happenings} == {"second"}


def test_an_alert_that_is_recorded_late_is_told(world: World) -> None:
    watch = watch_of(world)
    alert(world, "new")
    watch.look()
    alert(world, "late", ago=ALERT_DELAY / 2)
    assert told(watch.look()) == [("alert", "late")]


def test_of_a_flood_every_alert_is_told_once(world: World) -> None:
    watch = watch_of(world)
    keys = [f"flood-{n:04}" for n in range(2 * ALERTS + 7)]
    for key in keys:
        alert(world, key)
    happenings = watch.look()
    assert sorted(key for _, key in told(happenings)) == keys
    assert watch.look() == []


async def test_a_fault_of_ours_holds_up_the_streams_and_does_not_end_them() -> None:
    looks: list[Sequence[Happening] | Exception] = [(fill(1),), ValueError("an odd row"), (fill(2),)]

    def look() -> Sequence[Happening]:
        found = looks.pop(0) if looks else ()
        if isinstance(found, Exception):
            raise found
        return found

    metrics = ApiMetrics()
    stream = Stream(metrics)
    listener, _ = joined(stream)
    polling = asyncio.create_task(Poller(look, stream, metrics).keep(pause_seconds=0.001))
    async with asyncio.timeout(60):
        while len(listener.queue) < 2:
            await asyncio.sleep(0.001)
    polling.cancel()
    assert numbers(listener.queue) == [1, 2]
    assert "stream_poll_failures_total 1.0" in metrics.page().decode()


def test_what_happened_in_an_outage_is_told_after_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    account = world.account()
    watch = watch_of(world)
    account.trade(BTC, Side.BUY, "1", "60000", MARKET)
    alert(world, "during")

    def silent(*_: object, **__: object) -> None:
        raise Unreachable("expected the database to answer, was silence")

    for records, method in ((world.records, "holdings"), (world.events, "recent")):
        with monkeypatch.context() as patch:
            patch.setattr(records, method, silent)
            with pytest.raises(Unreachable):
                watch.look()
        world.clock.advance(timedelta(hours=1))
    assert [kind for kind, _ in told(watch.look())] == ["fill", "position", "alert"]


@contextlib.asynccontextmanager
async def listening(application: FastAPI) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
    """A stream of the running application, and how its next message is read."""
    come: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said.put_nowait({"type": "websocket.connect"})
    path, host = "/api/stream", (b"host", b"127.0.0.1:8010")
    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": [host], "client": HERE}

    async def read() -> dict[str, Any]:
        async with asyncio.timeout(60):
            message = await come.get()
        found: dict[str, Any] = json.loads(message["text"])
        return found

    async with application.router.lifespan_context(application):
        served = asyncio.create_task(application(scope, said.get, come.put))
        assert (await come.get())["type"] == "websocket.accept"
        yield read
        said.put_nowait({"type": "websocket.disconnect"})
        await served


async def test_what_happens_before_the_first_look_is_in_the_greeting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, look = threading.Event(), Watch.look

    def late(watch: Watch) -> Sequence[Happening]:
        assert goes_on.wait(60)
        return look(watch)

    monkeypatch.setattr(Watch, "look", late)
    late_world = World(world.settings, world.engine, world.clock, world.records)
    account = world.account()
    async with listening(late_world.application) as read:
        await asyncio.sleep(0.2)  # time to greet too soon
        account.trade(BTC, Side.BUY, "1", "60000", MARKET)
        goes_on.set()
        (position,) = (await read())["data"]["positions"]["positions"]
        assert position["quantity"] == "1"
        account.trade(BTC, Side.BUY, "1", "60000", MARKET + MINUTE)
        assert (await read())["data"]["fill_id"] == "2"


def test_a_heartbeat_is_no_news(world: World) -> None:
    account = world.account()
    watch = watch_of(world)
    account.write(Change(), heartbeat_at=NOW + timedelta(seconds=30))
    assert watch.look() == []
