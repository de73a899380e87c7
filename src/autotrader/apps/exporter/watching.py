"""Looks at each source in the background; a scrape is answered from what was found last.

A source has a thread of its own, so that one that hangs or is away takes nothing from the others. Its
metrics are absent from then on, never zero and never old, and `exporter_source_up` says which it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from autotrader.apps.exporter.reading import Reading
from autotrader.domain.errors import AutotraderError
from autotrader.ports.clock import WallClock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Something to read from.

    Attributes
    ----------
    name : str
    read : Callable
        Adds what it finds; may block; raises AutotraderError where the source gives no answer.
    period_seconds : float
        Pause between two looks.
    timeout_seconds : float
        A look that takes longer counts as one without an answer.
    """

    name: str
    read: Callable[[Reading], None]
    period_seconds: float = 15.0
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """How a source is now; `reading` is None where it is not up."""

    reading: Reading | None
    reason: str
    seconds: float | None
    last_success: datetime | None

    @property
    def is_up(self) -> bool:
        return self.reading is not None


class _Look:
    """One source's thread, and what it left."""

    def __init__(self, source: Source, clock: WallClock) -> None:
        self.source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: float | None = None
        self._ended: float | None = None
        self._found = Found(None, "not looked at yet", None, None)

    def now(self) -> Found:
        """What is known; nothing of a source that has kept silent for too long."""
        with self._lock:
            found, begun, ended = self._found, self._begun, self._ended
        now, patience = self._clock.monotonic(), self.source.timeout_seconds
        if begun is not None and now - begun > patience:
            return self._away(found, f"expected an answer within {patience:g} s, was none")
        if ended is not None and now - ended > 2 * self.source.period_seconds + patience:
            return self._away(found, f"not looked at for {now - ended:.0f} s")
        return found

    def look(self) -> None:
        """Read once; whatever goes wrong is an answer, too."""
        begun = self._clock.monotonic()
        with self._lock:
            self._begun = begun
        reading = Reading()
        reason = "answers"
        try:
            self.source.read(reading)
        except AutotraderError as error:
            reason = str(error)
        except Exception as error:
            log.error("a source could not be read", source=self.source.name, exc_info=error)
            reason = f"the reader itself failed: {type(error).__name__}"
        ended = self._clock.monotonic()
        with self._lock:
            before = self._found
            if reason == "answers":
                found = Found(reading, reason, ended - begun, self._clock.now())
            else:
                found = Found(None, reason, ended - begun, before.last_success)
            self._found, self._begun, self._ended = found, None, ended
        if before.is_up != found.is_up:
            tell = log.info if found.is_up else log.warning
            tell("source is up" if found.is_up else "source is away", source=self.source.name, reason=reason)

    @staticmethod
    def _away(found: Found, reason: str) -> Found:
        return Found(None, reason, found.seconds, found.last_success)


class Watch(Collector):
    """All sources, and the page's part that comes of them.

    Parameters
    ----------
    sources : sequence of Source
        No two of them add the same series.
    clock : WallClock
    """

    def __init__(self, sources: Sequence[Source], clock: WallClock) -> None:
        self._looks = [_Look(source, clock) for source in sources]
        self._ending = threading.Event()

    def start(self) -> None:
        """Begin to look, each source in its own thread."""
        for look in self._looks:
            # A daemon: one that hangs must not keep the process from ending.
            thread = threading.Thread(
                target=self._keep, args=(look,), name=f"source-{look.source.name}", daemon=True
            )
            thread.start()

    def stop(self) -> None:
        self._ending.set()

    def found(self) -> Mapping[str, Found]:
        """How each source is now."""
        return {look.source.name: look.now() for look in self._looks}

    def collect(self) -> Iterator[Family]:
        """Everything that is known, from memory."""
        about, all_found = Reading(), Reading()
        for name, found in self.found().items():
            about.add("exporter_source_up", found.is_up, source=name)
            about.add("exporter_source_seconds", found.seconds, source=name)
            last = found.last_success.timestamp() if found.last_success else None
            about.add("exporter_source_last_success_timestamp_seconds", last, source=name)
            if found.reading is None:
                continue
            all_found.include(found.reading)
            for metric, count in found.reading.left_out.items():
                about.add("exporter_series_left_out", count, metric=metric)
        yield from all_found.families()
        yield from about.families()

    def describe(self) -> Iterator[Family]:
        """Nothing beforehand: what is not known has no series."""
        return iter(())

    def _keep(self, look: _Look) -> None:
        while not self._ending.is_set():
            look.look()
            self._ending.wait(look.source.period_seconds)
