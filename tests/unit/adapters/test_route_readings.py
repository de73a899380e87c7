"""Callers that ask together are served by one visit, and never with what was read before they asked."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from autotrader.adapters.route_readings import RouteReadings
from autotrader.domain.errors import Unreachable
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Route, Routing
from tests.fakes.deployment import InMemoryDeploymentRecords

NAMES = [f"binance:C{n}USDT" for n in range(10)]
WAIT = 60.0


@dataclass
class Readings(InMemoryDeploymentRecords):
    """Each reading has the next epoch; the first may be held up."""

    may_go_on: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)
    threads: set[int] = field(default_factory=set)
    count: int = 0
    is_away: bool = False

    def routing(self, instrument: str) -> Routing | None:
        self.threads.add(threading.get_ident())
        self.count += 1
        epoch = self.count
        self.began.set()
        assert self.may_go_on.wait(WAIT)
        if self.is_away:
            raise Unreachable("expected the database to answer, was switched off")
        route = Route(instrument, Color.BLUE, None, epoch, None, datetime.now(UTC), "test")
        return Routing(route, {}, None)


def reading(*, held_up: bool = False) -> tuple[Readings, RouteReadings]:
    records = Readings()
    if not held_up:
        records.may_go_on.set()
    return records, RouteReadings(records)


async def test_who_asks_together_is_answered_by_one_visit_and_each_with_its_own() -> None:
    records, readings = reading()
    found = await asyncio.gather(*(readings.of(name) for name in NAMES * 2))
    assert [routing.route.instrument for routing in found if routing] == NAMES * 2
    assert records.count == len(NAMES)
    assert len(records.threads) == 1
    assert threading.get_ident() not in records.threads


async def test_who_asks_during_a_visit_gets_what_is_read_after_it_asked() -> None:
    records, readings = reading(held_up=True)
    first = asyncio.create_task(readings.of(NAMES[0]))
    assert await asyncio.to_thread(records.began.wait, WAIT)
    second = asyncio.create_task(readings.of(NAMES[0]))
    await asyncio.sleep(0)
    records.may_go_on.set()
    before, after = await asyncio.wait_for(asyncio.gather(first, second), WAIT)
    assert before is not None
    assert after is not None
    assert (before.route.epoch, after.route.epoch) == (1, 2)


async def test_an_outage_is_told_to_all_who_asked_and_ends_with_it() -> None:
    records, readings = reading()
    records.is_away = True
    found = await asyncio.gather(*(readings.of(name) for name in NAMES), return_exceptions=True)
    assert {type(answer) for answer in found} == {Unreachable}
    records.is_away = False
    assert await readings.of(NAMES[0]) is not None


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    records, readings = reading(held_up=True)
    impatient = asyncio.create_task(readings.of(NAMES[0]))
    patient = asyncio.create_task(readings.of(NAMES[0]))
    assert await asyncio.to_thread(records.began.wait, WAIT)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    records.may_go_on.set()
    assert await asyncio.wait_for(patient, WAIT) is not None
