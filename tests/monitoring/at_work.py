"""What goes on beside the platform until it is ended: callers, and faults that happen again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable

PATIENCE_SECONDS = 60


class AtWork:
    """Threads by name."""

    def __init__(self) -> None:
        self._ending: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def begin(self, name: str, work: Callable[[threading.Event], object]) -> None:
        """Do it until its event is set, which `end` does."""
        ending = self._ending[name] = threading.Event()
        thread = threading.Thread(target=work, args=(ending,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def repeat(self, name: str, work: Callable[[], object], *, every_seconds: float) -> None:
        """Do it now, and again after each pause."""

        def again(ending: threading.Event) -> None:
            work()
            while not ending.wait(every_seconds):
                work()

        self.begin(name, again)

    def end(self, name: str) -> None:
        self._ending.pop(name).set()

    def close(self) -> None:
        """End all of it."""
        for name in tuple(self._ending):
            self.end(name)
        for thread in self._threads:
            thread.join(timeout=PATIENCE_SECONDS)
