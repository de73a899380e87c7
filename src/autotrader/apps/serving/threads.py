"""Threads for what takes long, beside the event loop.

An executor of the standard library makes a future with a lock for each piece, and wakes the event loop for
each that is done. Here a piece is a place in a queue, and what is done comes back in handfuls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any


class Done:
    """What became of a piece of work."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value = value
        self._error = error

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._value


Run = Callable[[], Any]
Finish = Callable[[Done], None]


class Threads:
    """Run pieces of work of an event loop, each in one of the threads; these begin with the first piece.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: SimpleQueue[tuple[Run, Finish] | None] = SimpleQueue()
        self._done: deque[tuple[Finish, Done]] = deque()
        self._loop_knows = False  # that something is done

    def submit(self, run: Run, finish: Finish) -> None:
        """Call `run` in a thread, then `finish`, in the event loop, with what became of it.

        What has not begun when the threads are stopped never runs, and what has not come back then is
        not told of.
        """
        self._due.put((run, finish))
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for n in range(self._count):
                # A process that ends without `stop` must not wait for them.
                Thread(target=self._work, args=(self._loop,), name=f"predict-{n}", daemon=True).start()

    def stop(self) -> None:
        """Forget what has not begun, and let each thread end when its piece is done; does not wait."""
        with contextlib.suppress(Empty):
            while True:
                self._due.get_nowait()
        for _ in range(self._count):
            self._due.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (piece := self._due.get()) is not None:
            run, finish = piece
            try:
                done = Done(run())
            except BaseException as error:  # noqa: BLE001 - its owner is told; the thread has others to do
                done = Done(error=error)
            self._done.append((finish, done))
            # Set back before the loop empties `_done`: what was added before this look is seen there.
            if not self._loop_knows:
                self._loop_knows = True
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._loop_knows = False
        while self._done:
            finish, done = self._done.popleft()
            finish(done)
