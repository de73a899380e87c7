"""Panels are read side by side, and none waits for another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from autotrader.apps.console.panel import Failed, Filled, Missing, Panel
from autotrader.apps.console.sources import Sources
from tests.unit.apps.console.conftest import World


class Hanging:
    """A panel whose source answers when it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.reads = 0
        self.panel = Panel("hanging", "Hanging", self.read)

    def read(self, _: Sources) -> Filled:
        self.reads += 1
        self.gate.wait(10)
        return Filled({"reads": self.reads})


QUICK = Panel("quick", "Quick", lambda _: Missing("nothing"))


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.gate.set()


async def test_a_panel_that_hangs_is_reported_and_left_behind(world: World, hanging: Hanging) -> None:
    board = world.board(timeout_seconds=0.2, kept_seconds=0)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    found = await board.read([hanging.panel, QUICK])
    assert loop.time() - begun < 1
    assert found["quick"] == Missing("nothing")
    assert found["hanging"] == Failed("expected an answer within 0.2 s, was none for 0 s")
    begun = loop.time()
    assert isinstance((await board.read([hanging.panel]))["hanging"], Failed)
    assert loop.time() - begun < 0.1  # nobody waits for it again
    assert hanging.reads == 1  # and no second thread hangs beside the first
    hanging.gate.set()
    await asyncio.sleep(0.1)
    assert (await board.read([hanging.panel]))["hanging"] == Filled({"reads": 1})
    assert (await board.read([hanging.panel]))["hanging"] == Filled({"reads": 2})


async def test_many_viewers_are_one_load(world: World, hanging: Hanging) -> None:
    board = world.board(timeout_seconds=5, kept_seconds=60)
    viewers = [asyncio.create_task(board.read([hanging.panel])) for _ in range(10)]
    await asyncio.sleep(0.05)
    hanging.gate.set()
    found = await asyncio.gather(*viewers)
    assert [one["hanging"] for one in found] == [Filled({"reads": 1})] * 10
    assert (await board.read([hanging.panel]))["hanging"] == Filled({"reads": 1})
