"""Celery's workers, as they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from autotrader.adapters.celery_workers import Worker
from autotrader.apps.exporter.reading import Reading
from autotrader.domain.errors import DependencyError
from autotrader.ports.clock import WallClock

OPERATION = "ask_workers"
# One that is gone for good is forgotten; until then it shows when it was last heard of.
REMEMBERED = timedelta(hours=1)


class Asking(Protocol):
    """Asks all workers."""

    def __call__(self) -> Sequence[Worker]:
        """Raises DependencyError if the broker does not answer."""
        ...


class Workers:
    """Asks them at each look, and remembers who answered when."""

    def __init__(self, ask: Asking, clock: WallClock) -> None:
        self._ask = ask
        self._clock = clock
        self._heard: dict[str, datetime] = {}
        self._calls = Counter({"succeeded": 0, "failed": 0})

    def read(self, reading: Reading) -> None:
        """Add who answered, and what they do.

        Raises
        ------
        DependencyError
            If the broker does not answer.
        """
        try:
            workers = self._ask()
        except DependencyError:
            self._calls["failed"] += 1
            raise
        self._calls["succeeded"] += 1
        now = self._clock.now()
        self._heard |= {worker.name: now for worker in workers}
        self._heard = {name: at for name, at in self._heard.items() if now - at < REMEMBERED}
        for name, at in self._heard.items():
            reading.add("worker_heartbeat_timestamp", at.timestamp(), worker=name)
        for worker in workers:
            reading.add("worker_active", worker.active, worker=worker.name)
            reading.add("worker_memory_bytes", worker.memory_bytes, worker=worker.name)
            reading.add("worker_cpu_percent", worker.cpu_percent, worker=worker.name)
        for status, count in self._calls.items():
            reading.add("redis_operations_total", count, operation=OPERATION, status=status)
