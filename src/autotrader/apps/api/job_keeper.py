"""Keeps jobs and Airflow in agreement beside the API's requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from starlette.concurrency import run_in_threadpool

from autotrader.domain.errors import AutotraderError

PERIOD_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class JobKeeper:
    """Follows at once when it is told to, and every few seconds.

    Parameters
    ----------
    follow : Callable
        Makes both agree once; may block.
    """

    def __init__(self, follow: Callable[[], object], *, period_seconds: float = PERIOD_SECONDS) -> None:
        self._follow = follow
        self._period = period_seconds
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def tell(self) -> None:
        """There is something to do; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._told.set)

    async def keep(self) -> None:
        """Until cancelled; an Airflow that is away is logged once, and asked again."""
        self._loop = asyncio.get_running_loop()
        failing = False
        while True:
            self._told.clear()
            try:
                await run_in_threadpool(self._follow)
                failing = False
            except AutotraderError as error:
                if not failing:
                    _log.warning("jobs wait for Airflow", reason=str(error))
                failing = True
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look comes
                if not failing:
                    _log.error("a fault of ours holds up jobs", exc_info=error)
                failing = True
            try:
                await asyncio.wait_for(self._told.wait(), self._period)
            except TimeoutError:
                continue
