"""The exchange's clock: it stands, is moved, or runs."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from autotrader.apps.exchange.clock import ExchangeClock

from .conftest import MARKET_END

MINUTE = timedelta(minutes=1)


async def test_a_standing_clock_moves_only_when_it_is_told_to() -> None:
    clock = ExchangeClock(MARKET_END)
    await asyncio.sleep(0.01)
    assert clock.now() == MARKET_END
    clock.set(now=clock.now() + MINUTE)
    clock.set(now=clock.now() + MINUTE)
    assert clock.now() == MARKET_END + 2 * MINUTE


async def test_a_running_clock_runs_at_its_speed() -> None:
    clock = ExchangeClock(MARKET_END, speed=1000)
    async with asyncio.timeout(60):
        await clock.wait_until(MARKET_END + MINUTE)
    assert clock.now() >= MARKET_END + MINUTE


async def test_who_waits_is_woken_from_another_thread() -> None:
    clock = ExchangeClock(MARKET_END)
    waiting = asyncio.create_task(clock.wait_until(MARKET_END + MINUTE))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    mover = threading.Thread(target=lambda: clock.set(now=MARKET_END + MINUTE))
    mover.start()
    async with asyncio.timeout(60):
        await waiting
    mover.join()


async def test_an_instant_that_has_passed_is_not_waited_for() -> None:
    await ExchangeClock(MARKET_END).wait_until(MARKET_END)


async def test_a_move_that_does_not_reach_the_instant_goes_on_waiting() -> None:
    clock = ExchangeClock(MARKET_END)
    waiting = asyncio.create_task(clock.wait_until(MARKET_END + MINUTE))
    await asyncio.sleep(0)
    clock.set(now=MARKET_END + MINUTE / 2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await asyncio.shield(waiting)
    clock.set(now=MARKET_END + MINUTE)
    await waiting
