from __future__ import annotations

import asyncio
import time

import pytest

from autotrader.domain.errors import Rejected, Throttled, Unreachable
from autotrader.trading.broker_calls import FAILURES, OPEN_SECONDS, BrokerCalls


async def failing(error: Exception) -> None:
    raise error


async def fail(calls: BrokerCalls, times: int, error: Exception | None = None) -> None:
    for _ in range(times):
        with pytest.raises(type(error or Unreachable(""))):
            await calls("a call", lambda: failing(error or Unreachable("away")))


async def test_an_answer_is_passed_on() -> None:
    async def answer() -> int:
        return 7

    assert await BrokerCalls()("a call", answer) == 7


async def test_a_call_that_takes_too_long_has_no_usable_answer() -> None:
    with pytest.raises(Unreachable, match="an answer to a call in"):
        await BrokerCalls(seconds=0.01)("a call", lambda: asyncio.sleep(10))


async def test_after_five_failures_in_a_row_nothing_is_asked() -> None:
    calls = BrokerCalls()
    await fail(calls, FAILURES)
    assert calls.is_open
    asked = []

    async def ask() -> None:
        asked.append(1)

    with pytest.raises(Throttled) as told:
        await calls("a call", ask)
    assert asked == []
    assert 0 < told.value.retry_after_seconds <= 60


async def test_an_answer_between_failures_starts_the_count_anew() -> None:
    calls = BrokerCalls()
    for _ in range(3):
        await fail(calls, FAILURES - 1)
        await calls("a call", lambda: asyncio.sleep(0))
    assert not calls.is_open


@pytest.mark.parametrize("error", [Rejected("no"), Throttled("later", retry_after_seconds=1)])
async def test_a_venue_that_answers_no_is_not_away(error: Exception) -> None:
    calls = BrokerCalls()
    await fail(calls, 2 * FAILURES, error)
    assert not calls.is_open


async def test_after_a_minute_one_probe_closes_the_circuit_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = BrokerCalls()
    await fail(calls, FAILURES)
    later = time.monotonic() + OPEN_SECONDS
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: later)
    await calls("a probe", lambda: asyncio.sleep(0))
    assert not calls.is_open
