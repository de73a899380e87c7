"""Calls to a broker: with an end, and not over and over to one that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from circuitbreaker import CircuitBreaker

from autotrader.domain.errors import Throttled, Unreachable

T = TypeVar("T")

FAILURES = 5  # contract: open after so many in a row
OPEN_SECONDS = 60  # contract: then one probe


class BrokerCalls:
    """A circuit breaker and a time-out around every call.

    Parameters
    ----------
    seconds : float
        A call that takes longer has no usable answer.
    open_seconds : int
        How long nothing is asked after five failures in a row.
    """

    def __init__(self, *, seconds: float = 5.0, open_seconds: int = OPEN_SECONDS) -> None:
        self._seconds = seconds
        self._circuit = CircuitBreaker(
            failure_threshold=FAILURES,
            recovery_timeout=open_seconds,
            expected_exception=_is_outage,
            name="broker",
        )

    @property
    def is_open(self) -> bool:
        """Whether the broker is left alone for now."""
        return bool(self._circuit.opened)

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call.

        Raises
        ------
        Throttled
            Also while the circuit is open: the call was not made.
        Unreachable
            Also where it took too long: it may have been done.
        """

        async def ask() -> T:
            try:
                async with asyncio.timeout(self._seconds):
                    return await call()
            except TimeoutError:
                raise Unreachable(f"expected an answer to {what} in {self._seconds:g} s, was none") from None

        # The library looks at the circuit in its decorator only: `call_async` counts, and always calls.
        if self._circuit.opened:
            left = max(0.0, float(self._circuit.open_remaining))
            raise Throttled(
                f"expected a broker that answers, was one that failed {FAILURES} times in a row: "
                f"{what} was not asked, next try in {left:.0f} s",
                retry_after_seconds=left,
            )
        result: T = await self._circuit.call_async(ask)
        return result


def _is_outage(kind: type[BaseException], _: BaseException) -> bool:
    return issubclass(kind, Unreachable) and not issubclass(kind, Throttled)
