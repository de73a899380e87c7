"""`risk`, `reconcile` and `strategy`: what a person asks of a trader, and what comes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from autotrader import command
from autotrader.access.authentication import issue
from autotrader.adapters.clocks import SystemWallClock
from autotrader.apps.trader.asking import PATIENCE_SECONDS
from autotrader.apps.trader.reconcile import Then, reconcile
from autotrader.apps.trader.risk_halt import risk_halt
from autotrader.apps.trader.risk_resume import risk_resume
from autotrader.apps.trader.risk_status import risk_status
from autotrader.apps.trader.strategy_disable import strategy_disable
from autotrader.apps.trader.strategy_enable import strategy_enable
from autotrader.apps.trader.strategy_list import strategy_list
from autotrader.config.settings import Settings
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.tokens import SqlTokens
from autotrader.domain.errors import ExitCode, NotFound, Refused
from autotrader.domain.trading import Cause, RecoveryKind, TradingState
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Scope
from autotrader.ports.trading import Change, Page, Recovery
from autotrader.trading.bars import Batch
from tests.trading import BTC, START, World, walk

MINUTES = 40


class Desk:
    """The verbs over one world's ports."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, walk((BTC,), MINUTES), instruments=(BTC,))
        engine = open_database(f"sqlite:///{folder}/autotrader.db")
        self.events = SqlEventLog(engine)
        self.tokens = SqlTokens(engine)
        self.clock = SystemWallClock()
        self.settings: Settings = self.world.settings

    def token(self, name: str, *scopes: Scope) -> str:
        token, stored = issue(name, scopes, (), days=1, actor="test", now=self.clock.now())
        made = Event(f"token-{stored.id}", EventType.AUDIT, "info", "made", "test", stored.created_at)
        self.tokens.add(stored, made)
        return token

    def status(self) -> command.Result:
        return risk_status(settings=self.settings, records=self.world.records, clock=self.clock)

    def halt(self, reason: str) -> command.Result:
        return risk_halt(
            reason=reason,
            settings=self.settings,
            records=self.world.records,
            events=self.events,
            clock=self.clock,
        )

    def resume(self, reason: str, approver: str | None = None) -> command.Result:
        return risk_resume(
            reason=reason,
            approver=approver,
            settings=self.settings,
            records=self.world.records,
            events=self.events,
            tokens=self.tokens,
            clock=self.clock,
        )

    def reconcile(self, then: Then, reason: str = "asked for") -> command.Result:
        return reconcile(
            then=then,
            reason=reason,
            settings=self.settings,
            records=self.world.records,
            events=self.events,
            tokens=self.tokens,
            clock=self.clock,
        )

    def while_trading(self, ask: Callable[[], command.Result]) -> command.Result:
        """Trade, and ask amid it from another thread, as another process would."""
        answers: list[command.Result] = []
        asking = threading.Thread(target=lambda: answers.append(ask()))
        state = self.world.records.state("main")
        cursor = state.cursor if state and state.cursor else START
        middle = cursor + timedelta(minutes=5)

        def before_each(batch: Batch) -> None:
            if batch.ts == middle:
                asking.start()
            if batch.ts > middle and asking.is_alive():
                asking.join(timeout=1.0)  # leaves the trader its ticks

        self.world.run(before_each=before_each, bars=self.world.live)
        asking.join(timeout=PATIENCE_SECONDS + 60)
        (answer,) = answers
        return answer


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_account_that_never_traded_is_named_as_such(desk: Desk) -> None:
    with pytest.raises(NotFound, match="none has traded yet"):
        desk.status()


def test_a_running_trader_halts_at_once_and_says_so(desk: Desk) -> None:
    answer = desk.while_trading(lambda: desk.halt("too hot"))
    assert (answer.exit_code, answer.text) == (ExitCode.DONE, "account is HALTED")
    status = desk.status()
    assert status.exit_code == ExitCode.FAILED
    assert "too hot" in status.text
    asked = desk.events.recent(type=EventType.AUDIT)
    assert any("too hot" in event.message and "@" in event.actor for event in asked)
    state = desk.world.records.state("main")
    assert state is not None
    assert state.state is TradingState.HALTED


def test_a_halt_without_a_trader_is_done_before_the_next_one_trades(desk: Desk) -> None:
    desk.world.run(bars=desk.world.live[:5])
    answer = desk.halt("weekend")
    assert "no trader runs" in answer.text
    before = desk.world.records.order_times("main", START - timedelta(days=1))
    desk.world.run()
    state = desk.world.records.state("main")
    assert state is not None
    assert [r.cause for r in state.restrictions] == [Cause.OPERATOR]
    assert desk.world.records.order_times("main", START - timedelta(days=1)) == before


def test_only_a_token_that_may_approve_resumes_and_its_name_is_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.world.run(bars=desk.world.live[:5])
    desk.halt("weekend")
    desk.world.run(bars=desk.world.live[:10])
    monkeypatch.setenv("AUTOTRADER_TOKEN", desk.token("olga", Scope.OPERATE))
    with pytest.raises(Refused, match="approve"):
        desk.resume("monday")
    monkeypatch.setenv("AUTOTRADER_TOKEN", desk.token("alice", Scope.APPROVE))
    with pytest.raises(Refused, match="bob"):
        desk.resume("monday", approver="bob")
    answer = desk.while_trading(lambda: desk.resume("monday", approver="alice"))
    assert (answer.exit_code, answer.text) == (ExitCode.DONE, "account is ACTIVE")
    assert any(
        event.actor == "alice" and "monday" in event.message
        for event in desk.events.recent(type=EventType.AUDIT)
    )


def test_reconciling_by_hand_says_that_both_agree_and_keeps_a_record(desk: Desk) -> None:
    answer = desk.while_trading(lambda: desk.reconcile(Then.TELL))
    assert (answer.exit_code, answer.text) == (ExitCode.DONE, "agrees with the venue")


def test_what_differs_is_told_with_both_numbers_and_is_no_success(desk: Desk) -> None:
    desk.world.run(bars=desk.world.live[:5])
    order = {"order": "by-hand", "instrument": str(BTC), "side": "buy", "quantity": "0.001", "limit": None}
    fill = {"fill": "1", "order": "by-hand", "quantity": "0.001", "price": "100", "fee": "0"}
    fill |= {"fee_currency": "USDT", "at": START.isoformat()}
    with (desk.world.folder / "paper-main.jsonl").open("a") as journal:
        journal.write(json.dumps([order, fill]) + "\n")
    answer = desk.while_trading(lambda: desk.reconcile(Then.TELL))
    assert answer.exit_code is ExitCode.FAILED
    assert "QUANTITY_MISMATCH binance:USDT: ours 100000, the venue's 99999.9, worth 0.10" in answer.text


def test_a_trader_that_does_not_answer_is_not_taken_for_one_that_found_something(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.world.run(bars=desk.world.live[:5])
    records = desk.world.records
    monkeypatch.setattr("autotrader.apps.trader.asking.PATIENCE_SECONDS", 0.3)
    lease = records.acquire("main", "one that hangs", now=desk.clock.now(), seconds=60)
    assert lease is not None

    def find() -> None:
        at = desk.clock.now() + timedelta(seconds=0.1)
        found = Recovery("r1", "main", RecoveryKind.CONTINUOUS, at, 0.1, 0, (), False, "continuous")
        records.write(lease, Change(recoveries=(found,)))

    finding = threading.Timer(0.1, find)
    finding.start()
    answer = desk.reconcile(Then.TELL)
    finding.join()
    assert [each.id for each in records.recoveries("main", Page(limit=1))] == ["r1"]
    assert answer.exit_code is ExitCode.UNREACHABLE


def test_to_acknowledge_or_adopt_needs_a_token(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.world.run(bars=desk.world.live[:5])
    monkeypatch.setenv("AUTOTRADER_TOKEN", desk.token("olga", Scope.OPERATE))
    for then in (Then.ACKNOWLEDGE, Then.ADOPT):
        with pytest.raises(Refused, match="approve"):
            desk.reconcile(then, "a deposit")


def test_a_disabled_strategy_opens_nothing_until_it_is_enabled(desk: Desk) -> None:
    records, settings, clock = desk.world.records, desk.settings, desk.clock
    done = strategy_disable(reason="review", settings=settings, records=records, clock=clock)
    assert done.text == "strategy autotrader-strategy is disabled"
    desk.world.run(bars=desk.world.live[:20])
    assert not records.order_times("main", START - timedelta(days=1))
    listed = strategy_list(settings=settings, records=records)
    assert listed.data == [{"strategy_id": "autotrader-strategy", "enabled": False, "accounts": ["main"]}]
    again = strategy_disable(reason="review", settings=settings, records=records, clock=clock)
    assert again.text.endswith("already")
    strategy_enable(reason="reviewed", settings=settings, records=records, clock=clock)
    desk.world.run()
    state = records.state("main")
    assert state is not None
    assert state.restrictions == ()
