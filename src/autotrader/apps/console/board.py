"""Reads the panels side by side, each with a time-out of its own.

A read that hangs is reported and left behind: its thread cannot be ended, so no other is begun for its
panel before it comes back, and nobody waits for it again. Whoever asks while a panel is being read, or
just after, gets the same: ten viewers are one load.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from autotrader.apps.console.panel import Content, Failed, Panel
from autotrader.apps.console.sources import Sources
from autotrader.domain.errors import AutotraderError
from autotrader.log import mask_text
from autotrader.ports.clock import WallClock

TIMEOUT_SECONDS = 4.0
KEPT_SECONDS = 2.0
MOST_CHARACTERS = 600  # of a reason

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """A read under way, in a thread of its own."""

    begun: float
    future: Future[Content]


class PanelBoard:
    """The newest content of each panel.

    Parameters
    ----------
    sources : Sources
    clock : WallClock
    timeout_seconds, kept_seconds : float
        Patience with one read; for how long its result is shown to others.
    """

    def __init__(
        self,
        sources: Sources,
        clock: WallClock,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._timeout = timeout_seconds
        self._kept_seconds = kept_seconds
        self._kept: dict[str, tuple[Content, float]] = {}
        self._under_way: dict[str, _Look] = {}

    async def read(self, panels: Sequence[Panel]) -> dict[str, Content]:
        """Content by the panel's id."""
        contents = await asyncio.gather(*map(self._read, panels))
        return {panel.id: content for panel, content in zip(panels, contents, strict=True)}

    async def _read(self, panel: Panel) -> Content:
        content, at = self._kept.get(panel.id, (None, 0.0))
        if content is not None and self._clock.monotonic() - at < self._kept_seconds:
            return content
        look = self._under_way.get(panel.id) or self._begin(panel)
        left = look.begun + self._timeout - self._clock.monotonic()
        if left > 0 and not look.future.done():
            await asyncio.wait([asyncio.wrap_future(look.future)], timeout=left)
        if not look.future.done():
            waited = self._clock.monotonic() - look.begun
            return Failed(f"expected an answer within {self._timeout:g} s, was none for {waited:.0f} s")
        if self._under_way.get(panel.id) is look:
            del self._under_way[panel.id]
            self._kept[panel.id] = (look.future.result(), self._clock.monotonic())
        return look.future.result()

    def _begin(self, panel: Panel) -> _Look:
        look = self._under_way[panel.id] = _Look(self._clock.monotonic(), Future())
        # A daemon: one that hangs must not keep Airflow's server from ending.
        threading.Thread(
            target=self._run, args=(panel, look.future), name=f"panel-{panel.id}", daemon=True
        ).start()
        return look

    def _run(self, panel: Panel, future: Future[Content]) -> None:
        content: Content
        try:
            content = panel.read(self._sources)
        except AutotraderError as error:
            content = Failed(mask_text(" ".join(str(error).split()))[:MOST_CHARACTERS])
        except Exception as error:  # noqa: BLE001 - a panel that breaks says so, and empties no other
            _log.error("a panel of the console broke", panel=panel.id, exc_info=error)
            content = Failed(
                f"reading it failed with {type(error).__name__}; the log of Airflow's API server has more"
            )
        future.set_result(content)
