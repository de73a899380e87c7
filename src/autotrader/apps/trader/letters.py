"""Letters about recoveries, written beside the trader: it waits for no mail server."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import structlog

from autotrader.alerts.postbox import Postbox
from autotrader.alerts.reports import recovery_report
from autotrader.domain.errors import AutotraderError
from autotrader.ports.trading import Recovery

log = structlog.get_logger(__name__)

# A letter is a file before anything is delivered: what is not sent by then goes with the next one.
_LEAVING_SECONDS = 5.0


class RecoveryLetters:
    """Posts a letter for each recovery; used as an async context manager.

    Parameters
    ----------
    postbox : Postbox
    source : str
        Where the bars come from; stands in the subject unless it is `live`.
    base_currency : str
    """

    def __init__(self, postbox: Postbox, *, source: str, base_currency: str) -> None:
        self._postbox = postbox
        self._source = source
        self._base_currency = base_currency
        self._posting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._posting:
            await asyncio.wait(self._posting, timeout=_LEAVING_SECONDS)

    def send(self, recovery: Recovery) -> None:
        """Begin to post; returns at once."""
        task = asyncio.create_task(asyncio.to_thread(self._post, recovery))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    def _post(self, recovery: Recovery) -> None:
        letter = recovery_report(recovery, source=self._source, base_currency=self._base_currency)
        try:
            self._postbox.post(letter)
        except AutotraderError as error:
            log.error("letter about a recovery not posted", recovery=recovery.id, reason=str(error))
