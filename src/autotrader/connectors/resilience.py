"""Retry what is transient, and name what failed in the words of `autotrader.domain.errors`.

A connector turns each failure of its vendor's library into our tree as close to the wire as it can
(`failure_of_status` for HTTP answers, `transport_failures` around the call), and gives the request
to `RetryPolicy.call`. What is retried follows from the tree alone: `Unreachable` and `Throttled`
are, everything else is raised at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import structlog
import tenacity

from autotrader.domain.errors import AutotraderError, NotFound, Rejected, Throttled, Unreachable

T = TypeVar("T")

# Taken when the venue throttles without saying for how long; a ban (418) lasts two minutes at least.
DEFAULT_REST_SECONDS = {429: 10.0, 418: 120.0}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a transient failure is tried again.

    Waits grow exponentially with full jitter: the n-th is uniform in
    [0, min(longest, first x 2^(n-1))] (Brooker, "Exponential Backoff And Jitter", AWS 2015). A
    venue that asked for a rest (`Throttled`) gets at least that.

    Attributes
    ----------
    attempts : int
        Including the first; 1 never retries.
    first_wait_seconds, longest_wait_seconds : float
        Bounds of the growing wait.
    patience_seconds : float
        A rest longer than this is not waited for: `Throttled` is raised at once, so that the
        caller can free its place (a ban lasts from two minutes to three days).
    """

    attempts: int = 6
    first_wait_seconds: float = 0.25
    longest_wait_seconds: float = 20.0
    patience_seconds: float = 90.0

    async def call(self, request: Callable[[], Awaitable[T]]) -> T:
        """Await the request until it succeeds, fails for good, or attempts are used up.

        Raises
        ------
        AutotraderError
            The last failure, unchanged.
        """

        async def attempt() -> T:  # tenacity awaits coroutine functions only, not what a lambda gives
            return await request()

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=self._wait,
            retry=tenacity.retry_if_exception(self._is_worth_waiting_for),
            before_sleep=_log_retry,
            sleep=asyncio.sleep,
            reraise=True,
        )
        return await retrying(attempt)

    def longest_wait(self, failures: int) -> float:
        """Upper bound of the wait after so many failures in a row, in seconds."""
        return min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** max(0, failures - 1))

    def _is_worth_waiting_for(self, failure: BaseException) -> bool:
        if isinstance(failure, Throttled):
            return failure.retry_after_seconds <= self.patience_seconds
        return isinstance(failure, Unreachable)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        jitter = random.uniform(0.0, self.longest_wait(state.attempt_number))  # noqa: S311 - no secret
        failure = state.outcome.exception() if state.outcome else None
        return jitter + (failure.retry_after_seconds if isinstance(failure, Throttled) else 0.0)


def failure_of_status(
    status: int, request: str, *, detail: str = "", retry_after: str | None = None
) -> AutotraderError:
    """The failure that an HTTP status stands for.

    Parameters
    ----------
    status : int
        Not a success.
    request : str
        What was asked, for the message; it must hold no credentials.
    detail : str
        What the venue said; cut to 200 characters.
    retry_after : str or None
        The `Retry-After` header, in seconds.

    Returns
    -------
    AutotraderError
        Throttled (429, 418), Unreachable (408, 5xx), NotFound (404) or Rejected (all others).
    """
    message = f"expected an answer to {request}, was HTTP {status} {detail[:200]}".rstrip()
    if status in DEFAULT_REST_SECONDS:
        rest = _seconds(retry_after, default=DEFAULT_REST_SECONDS[status])
        return Throttled(f"{message}: leave the venue alone for {rest:g} s", retry_after_seconds=rest)
    if status == 408 or status >= 500:
        return Unreachable(f"{message}: try again later")
    if status == 404:
        return NotFound(message)
    return Rejected(message)


@contextlib.contextmanager
def transport_failures(request: str, *kinds: type[Exception]) -> Iterator[None]:
    """Raise `Unreachable` for time-outs, socket errors, and the given kinds of a vendor's library.

    Parameters
    ----------
    request : str
        What was asked and of whom, for the message; it must hold no credentials.
    *kinds : type[Exception]
        The library's own transport errors, such as `aiohttp.ClientError`.
    """
    expected: tuple[type[Exception], ...] = (TimeoutError, OSError, *kinds)
    try:
        yield
    except expected as failure:
        reason = str(failure) or type(failure).__name__
        raise Unreachable(
            f"expected an answer to {request}, was {reason}: check network and URL, or try again later"
        ) from failure


def _seconds(text: str | None, *, default: float) -> float:
    try:
        return max(0.0, float(text)) if text else default
    except ValueError:  # the header's other form is a date
        return default


def _log_retry(state: tenacity.RetryCallState) -> None:
    _log.warning(
        "retrying",
        attempt=state.attempt_number,
        wait_seconds=round(state.upcoming_sleep, 2),
        failure=str(state.outcome.exception() if state.outcome else ""),
    )
