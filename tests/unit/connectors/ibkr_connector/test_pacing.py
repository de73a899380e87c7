"""The venue's pacing rules are kept, whatever order requests come in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from autotrader.connectors.ibkr_connector.pacing import Pacer


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


async def test_sixty_requests_pass_in_ten_minutes_and_the_next_waits_for_the_rest() -> None:
    time = FakeTime()
    pacer = Pacer(time, sleep=time.sleep)
    for i in range(60):
        await pacer.turn(f"contract {i}", i)
    assert time.slept == []
    await pacer.turn("another", 61)
    assert time.seconds == 600.0


async def test_a_contract_is_asked_for_at_most_five_times_in_two_seconds() -> None:
    time = FakeTime()
    pacer = Pacer(time, sleep=time.sleep)
    for i in range(5):
        await pacer.turn("AAPL", i)
    assert time.seconds == 0.0
    await pacer.turn("MSFT", 5)
    assert time.seconds == 0.0
    await pacer.turn("AAPL", 6)
    assert time.seconds == 2.0


async def test_an_identical_request_waits_fifteen_seconds() -> None:
    time = FakeTime()
    pacer = Pacer(time, sleep=time.sleep)
    await pacer.turn("AAPL", "the same")
    time.seconds = 4.0
    await pacer.turn("AAPL", "the same")
    assert time.seconds == 15.0


async def test_old_requests_are_forgotten() -> None:
    time = FakeTime()
    pacer = Pacer(time, sleep=time.sleep)
    for i in range(50):
        await pacer.turn(f"contract {i}", i)
    time.seconds = 700.0
    await pacer.turn("AAPL", "new")
    assert len(pacer._windows) == 3
