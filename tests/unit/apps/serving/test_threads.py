"""Pieces of work beside an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from autotrader.apps.serving.threads import Done, Threads


def run(work: Callable[[Threads], Any]) -> Any:
    """What the coroutine makes of two threads, which end behind it."""

    async def within() -> Any:
        threads = Threads(2)
        try:
            return await asyncio.wait_for(work(threads), 120)
        finally:
            threads.stop()

    before = set(threading.enumerate())
    found = asyncio.run(within())
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()
    return found


def test_each_piece_comes_back_in_the_thread_of_the_event_loop() -> None:
    async def work(threads: Threads) -> list[int]:
        told, ended = [], asyncio.Event()

        def finish(done: Done) -> None:
            assert threading.current_thread() is threading.main_thread()
            told.append(done.result())
            if len(told) == 1_000:
                ended.set()

        for n in range(1_000):
            threads.submit(lambda n=n: n, finish)
        await ended.wait()
        return told

    assert sorted(run(work)) == list(range(1_000))


def test_pieces_are_worked_on_side_by_side() -> None:
    async def work(threads: Threads) -> bool:
        met, ended = threading.Barrier(2, timeout=60), asyncio.Event()
        for finish in (lambda _: None, lambda _: ended.set()):
            threads.submit(met.wait, finish)
        await ended.wait()
        return not met.broken

    assert run(work)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_an_error_is_its_owners_and_the_thread_goes_on(error: BaseException) -> None:
    async def work(threads: Threads) -> list[Done]:
        dones, ended = [], asyncio.Event()

        def fail() -> None:
            raise error

        def finish(done: Done) -> None:
            dones.append(done)
            if len(dones) == 11:
                ended.set()

        for _ in range(10):
            threads.submit(fail, finish)
        threads.submit(lambda: None, finish)
        await ended.wait()
        return dones

    failed = []
    for done in run(work):
        try:
            done.result()
        except type(error) as told:
            failed.append(told)
    assert failed == [error] * 10


def test_what_has_not_begun_when_they_stop_never_runs() -> None:
    begun, may_end = threading.Event(), threading.Event()
    ran = []

    async def work(threads: Threads) -> None:
        def first() -> None:
            begun.set()
            assert may_end.wait(60)

        for _ in range(2):
            threads.submit(first, lambda _: None)
        threads.submit(lambda: ran.append("late"), lambda _: None)
        assert await asyncio.to_thread(begun.wait, 60)
        threads.stop()
        may_end.set()

    run(work)
    assert ran == []
