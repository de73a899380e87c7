"""What is retried, for how long, and what a failure is called."""

from __future__ import annotations

import asyncio
import time

import pytest

from autotrader.connectors.resilience import RetryPolicy, failure_of_status, transport_failures
from autotrader.domain.errors import AutotraderError, BadData, NotFound, Rejected, Throttled, Unreachable

QUICK = RetryPolicy(attempts=4, first_wait_seconds=0.001, longest_wait_seconds=0.002)


class Venue:
    """Fails as told, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "bars"


async def test_what_is_unreachable_is_asked_again() -> None:
    venue = Venue(Unreachable("a"), Unreachable("b"))
    assert await QUICK.call(venue.ask) == "bars"
    assert venue.asked == 3


async def test_the_last_failure_is_raised_when_attempts_are_used_up() -> None:
    venue = Venue(*[Unreachable(str(i)) for i in range(9)])
    with pytest.raises(Unreachable, match="3"):
        await QUICK.call(venue.ask)
    assert venue.asked == 4


@pytest.mark.parametrize("failure", [Rejected("no"), NotFound("?"), BadData("x"), ValueError("bug")])
async def test_what_will_fail_again_is_not_asked_again(failure: Exception) -> None:
    venue = Venue(failure)
    with pytest.raises(type(failure)):
        await QUICK.call(venue.ask)
    assert venue.asked == 1


async def test_the_rest_that_a_venue_asks_for_is_kept() -> None:
    venue = Venue(Throttled("slow down", retry_after_seconds=0.2))
    began = time.monotonic()
    await QUICK.call(venue.ask)
    assert time.monotonic() - began >= 0.2


async def test_a_rest_beyond_our_patience_is_raised_at_once() -> None:
    venue = Venue(Throttled("banned", retry_after_seconds=3600))
    with pytest.raises(Throttled) as raised:
        await QUICK.call(venue.ask)
    assert venue.asked == 1
    assert raised.value.retry_after_seconds == 3600


async def test_a_request_may_be_any_callable_that_gives_an_awaitable() -> None:
    venue = Venue(Unreachable("a"))
    assert await QUICK.call(lambda: venue.ask()) == "bars"


def test_waits_double_up_to_their_bound() -> None:
    policy = RetryPolicy(first_wait_seconds=0.25, longest_wait_seconds=3)
    assert [policy.longest_wait(n) for n in range(1, 7)] == [0.25, 0.5, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, Throttled),
        (418, Throttled),
        (408, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
        (404, NotFound),
        (400, Rejected),
        (403, Rejected),
        (451, Rejected),
    ],
)
def test_a_status_has_its_place_in_the_error_tree(status: int, kind: type[AutotraderError]) -> None:
    assert type(failure_of_status(status, "bars")) is kind


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [(429, "7", 7), (429, None, 10), (418, None, 120), (429, "Wed, 21 Oct 2026 07:28:00 GMT", 10)],
)
def test_how_long_to_rest_comes_from_the_header_or_the_status(
    status: int, header: str | None, seconds: float
) -> None:
    failure = failure_of_status(status, "bars", retry_after=header)
    assert isinstance(failure, Throttled)
    assert failure.retry_after_seconds == seconds


@pytest.mark.parametrize("failure", [TimeoutError(), ConnectionResetError("reset"), LookupError("theirs")])
def test_failures_of_the_transport_become_unreachable(failure: Exception) -> None:
    with (
        pytest.raises(Unreachable, match="expected an answer to bars"),
        transport_failures("bars", LookupError),
    ):
        raise failure


def test_other_failures_pass_as_they_are() -> None:
    with pytest.raises(KeyError), transport_failures("bars"):
        raise KeyError("a bug")


async def test_a_cancelled_request_is_not_retried() -> None:
    venue = Venue(asyncio.CancelledError())  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await QUICK.call(venue.ask)
    assert venue.asked == 1
