"""Keeping the right to trade, and knowing when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from autotrader.domain.errors import Refused, Unreachable
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import LONGEST_LEASE_SECONDS, Lease, TradingRecords

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.5


class LeaseKeeper:
    """The lease on one account, from `take` to `release`.

    It is trusted for less time than the store grants it, measured by a clock that does not jump: a
    process that was stopped for longer finds on waking that it holds nothing.

    Parameters
    ----------
    records : TradingRecords
    account, owner : str
        The owner is unique to this process.
    clock : WallClock
    seconds : float
        Without renewal it ends after so long.
    longest_send_seconds : float
        An order that another owner handed to the venue may be on its way for so long.
    has_ended : Callable
        Whether the process of that owner is known to be gone.
    """

    def __init__(
        self,
        records: TradingRecords,
        account: str,
        owner: str,
        clock: WallClock,
        *,
        seconds: float,
        longest_send_seconds: float,
        has_ended: Callable[[str], bool],
    ) -> None:
        self._records = records
        self._account = account
        self._owner = owner
        self._clock = clock
        self._seconds = seconds
        self._longest_send = longest_send_seconds
        self._has_ended = has_ended
        self._lease: Lease | None = None
        self._renewed = 0.0

    @property
    def lease(self) -> Lease:
        """Raises Refused where it is not held."""
        if self._lease is None:
            raise Refused(f"expected the lease on account {self._account}, was not taken")
        return self._lease

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have it for a fifth of its time from now on."""
        return self._lease is not None and self._clock.monotonic() < self._renewed + 0.8 * self._seconds

    async def take(self) -> None:
        """Wait until nobody else has it, and until what the one before sent has arrived.

        Whether somebody who cannot be asked still prolongs it is seen by watching: the times that another
        machine writes are by its clock, which may be far from ours.
        """
        before, since = self._records.lease(self._account), self._clock.monotonic()
        told = False
        while True:
            gone = before is not None and self._has_ended(before.owner)
            silent = self._clock.monotonic() - since >= self._patience(before)
            if self._acquire(before if gone or silent else None):
                break
            if not told:
                told = True
                log.info("waiting for the lease", account=self._account, holder=before and before.owner)
            await asyncio.sleep(_POLL_SECONDS)
            found = self._records.lease(self._account)
            if found != before:
                before, since = found, self._clock.monotonic()
        if before is not None:
            # Until it was over its owner may have handed over an order.
            ended = min(before.expires_at, self._clock.now())
            over = timedelta() if silent else self._clock.now() - ended
            await self._wait_out(self._longest_send - over.total_seconds())

    def _patience(self, other: Lease | None) -> float:
        """Seconds in which a living owner would have prolonged its lease.

        By its settings they may be more than ours: so what has not expired by our clock is left alone, too,
        if only for as long as any settings allow, since that clock may be wrong by hours.
        """
        is_valid = other is not None and self._clock.now() < other.expires_at
        return LONGEST_LEASE_SECONDS if is_valid else self._seconds

    def _acquire(self, silent: Lease | None) -> bool:
        asked, now = self._clock.monotonic(), self._clock.now()
        self._lease = self._records.acquire(
            self._account, self._owner, now=now, seconds=self._seconds, silent=silent
        )
        self._renewed = asked
        return self._lease is not None

    async def _wait_out(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            await asyncio.sleep(min(left, _POLL_SECONDS))
            self.renew()

    def renew(self) -> None:
        """Prolong it once a third of its time is over.

        Raises
        ------
        Refused
            If somebody else has it: trade no more.
        Unreachable
            If the database does not answer; `is_held` says for how long that may be borne.
        """
        asked = self._clock.monotonic()
        if asked - self._renewed < self._seconds / 3:
            return
        try:
            self._lease = self._records.renew(self.lease, now=self._clock.now(), seconds=self._seconds)
        except Refused:
            self._lease = None
            raise
        self._renewed = asked

    def require(self) -> None:
        """Return while it is held for sure; after a long pause the store is asked first.

        Raises
        ------
        Refused
            If somebody else has it, or nobody can say.
        """
        if self.is_held:
            return
        try:
            self.renew()
        except Unreachable as error:
            lost = f"expected to renew the lease on {self._account}, was not able to: {error}"
            raise Refused(lost) from error
        if not self.is_held:
            raise Refused(f"expected the lease on {self._account} for long enough, was too slow to renew it")

    def release(self) -> None:
        """Give it back, so that the next owner need not wait."""
        if self._lease is not None:
            self._records.release(self._lease, now=self._clock.now())
            self._lease = None
