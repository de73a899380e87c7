"""A crash is told by letter, whether or not a mail server is there."""

from __future__ import annotations

import asyncio
import email
import email.policy
from pathlib import Path

import pytest

from autotrader.alerts.postbox import Postbox
from autotrader.apps.trader.assembly import assemble
from autotrader.apps.trader.letters import RecoveryLetters
from autotrader.ports.trading import Recovery
from autotrader.trading.bars import Batch
from tests.trading import BTC, START, ListFeed, World, past_of, walk


class Killed(BaseException):
    """Stands for an end that no code can catch."""


def test_after_a_kill_the_next_start_writes_a_letter_with_what_it_found(tmp_path: Path) -> None:
    world = World(tmp_path, walk((BTC,), 12), instruments=(BTC,))

    def kill(batch: Batch) -> None:
        if batch is world.live[8]:
            raise Killed

    with pytest.raises(Killed):
        world.run(before_each=kill)
    world.owner, world.has_ended = (lambda: "second"), (lambda _: True)
    postbox = Postbox(
        tmp_path / "mail",
        None,
        sender="trader@example.org",
        recipients=("desk@example.org",),
        clock=world.clock,
    )
    told: list[Recovery] = []

    async def again() -> None:
        keeper = await world.keeper()
        async with (
            world.paper() as paper,
            RecoveryLetters(postbox, source="recorded", base_currency="USD") as letters,
        ):

            def tell(recovery: Recovery) -> None:
                told.append(recovery)
                letters.send(recovery)

            state = world.records.state("main")
            cursor = state.cursor if state and state.cursor else START
            made = await assemble(
                world.settings,
                world.around,
                keeper=keeper,
                broker=paper,
                records=world.records,
                predictor=world.predictor,
                entry_rules=world.predictor,
                past=past_of(world.bars, cursor),
                clock=world.clock,
                market_clock=None,
                tell=tell,
            )
            await made.session.run(ListFeed(world.live, paper, cursor), made.start, made.why)

    asyncio.run(again())
    (recovery,) = told
    (file,) = (tmp_path / "mail").rglob("*.eml")
    letter = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert letter["Subject"] == "[recorded] main: crash recovery is settled, 0 discrepancies"
    assert letter["To"] == "desk@example.org"
    body = letter.get_body(("plain",))
    assert body is not None
    assert recovery.reason in " ".join(body.get_content().split())
