"""Panels are read side by side, and none waits for another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from autotrader.apps.console.board import PanelBoard
from autotrader.apps.console.panel import Content, Failed, Filled, Missing, Panel
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
        self.gate.wait(120)
        return Filled({"reads": self.reads})


QUICK = Panel("quick", "Quick", lambda _: Missing("nothing"))


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.gate.set()


async def filled(board: PanelBoard, panel: Panel) -> Content:
    """What a panel shows once it has been read, on a machine that may be slow."""
    async with asyncio.timeout(60):
        while isinstance(content := (await board.read([panel]))[panel.id], Failed):
            await asyncio.sleep(0.01)
    return content


async def test_a_panel_that_hangs_is_reported_and_left_behind(world: World, hanging: Hanging) -> None:
    board = world.board(timeout_seconds=0.2, kept_seconds=0)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    found = await board.read([hanging.panel, QUICK])
    assert loop.time() - begun < 60
    assert isinstance(found["hanging"], Failed)
    assert found["hanging"].reason.startswith("expected an answer within 0.2 s, was none for ")
    assert await filled(board, QUICK) == Missing("nothing")
    waits = []
    for _ in range(20):
        begun = loop.time()
        assert isinstance((await board.read([hanging.panel]))["hanging"], Failed)
        waits.append(loop.time() - begun)
    assert min(waits) < 0.1  # nobody waits for it again
    assert hanging.reads == 1  # and no second thread hangs beside the first
    hanging.gate.set()
    assert await filled(board, hanging.panel) == Filled({"reads": 1})
    assert await filled(board, hanging.panel) == Filled({"reads": 2})


async def test_many_viewers_are_one_load(world: World, hanging: Hanging) -> None:
    board = world.board(timeout_seconds=60, kept_seconds=600)
    viewers = [asyncio.create_task(board.read([hanging.panel])) for _ in range(10)]
    await asyncio.sleep(0.05)
    hanging.gate.set()
    found = await asyncio.gather(*viewers)
    assert [one["hanging"] for one in found] == [Filled({"reads": 1})] * 10
    assert (await board.read([hanging.panel]))["hanging"] == Filled({"reads": 1})
