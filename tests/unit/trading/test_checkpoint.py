"""When a checkpoint is due, and what it holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from autotrader.config.settings import Settings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import Fill, Order, OrderType, Side
from autotrader.domain.positions import Holdings
from autotrader.domain.trading import Cause, RunStatus, TradingState
from autotrader.execution.strategy import StrategyRules
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Restriction
from autotrader.trading.bars import Batch
from autotrader.trading.book import Book, Money
from autotrader.trading.checkpoint import Checkpoint, Checkpoints
from autotrader.trading.reconciliation import Comparison
from autotrader.trading.targets import Targets
from autotrader.trading.unexplained import remember, unexplained

NOW = datetime(2026, 3, 1, 9, 30, 1, 123456, tzinfo=UTC)
FIRST = datetime(2024, 1, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")
RULES = InstrumentRules(Decimal("0.01"), Decimal("0.001"), Decimal(5), "USDT", "BTC")
SETTINGS = Settings(_env_file=None)


def targets(**memory: object) -> Targets:
    return Targets(
        StrategyRules.of(SETTINGS.strategy),
        (BTC,),
        SETTINGS.risk,
        interval=Interval.M1,
        volatility_target=None,
        memory=memory,
    )


class Account:
    """Steps through bars without deciding anything."""

    def __init__(self, name: str = "main", *, same: frozenset[str] = frozenset({"USDT"})) -> None:
        self.state = AccountState(
            account=name,
            strategy_id="s",
            venue="binance",
            status=RunStatus.RUNNING,
            heartbeat_at=NOW,
            started_at=NOW,
            owner="o",
            source="recorded",
            base_currency="USD",
            initial_equity=Decimal(100),
            peak_equity=Decimal("100.10"),
            day_start_equity=Decimal(100),
            equity=Decimal("99.90"),
            day=FIRST.date(),
        )
        self.targets = targets()
        self.book = Book(
            Holdings(name, {"USDT": Decimal("99.90")}),
            (),
            (),
            {BTC: RULES},
            Money("USD", same),
        )
        self.checkpoints = Checkpoints(
            (BTC,), Interval.M1, day_boundary="00:00 UTC", terms={"risk": {"a": 0.1}}, actor="trader"
        )
        self.at = FIRST

    def step(self, at: datetime | None = None) -> Event | None:
        self.at = at or self.at + MINUTE
        batch = Batch(self.at, self.at + MINUTE, ())
        event = self.checkpoints.take(
            batch, self.state, self.book, self.targets, decision_hash="abc", now=NOW
        )
        self.state = replace(self.state, day=batch.closed_at.date(), cursor=self.at)
        self.checkpoints.leave(self.state)
        return event

    def restrict(self, cause: Cause) -> None:
        held = Restriction(cause, TradingState.REDUCING, "why", NOW, "ops")
        self.state = replace(self.state, restrictions=(*self.state.restrictions, held))


def order() -> Order:
    return Order(
        account="main",
        client_order_id="c1",
        strategy_id="s",
        instrument=BTC,
        side=Side.BUY,
        quantity=Decimal(1),
        type=OrderType.MARKET,
        limit_price=None,
        reference_price=Decimal(10),
        reduces=False,
        decided_at=FIRST,
        valid_until=FIRST,
        recorded_at=NOW,
        reason="r",
    )


def test_a_process_tells_a_checkpoint_at_its_first_step_and_then_none() -> None:
    account = Account()
    first = account.step()
    assert first is not None
    assert (first.type, first.severity) == (EventType.AUDIT, "info")
    assert [account.step() for _ in range(5)] == [None] * 5


def test_a_checkpoint_is_read_back_as_it_was() -> None:
    account = Account(same=frozenset({"USDT", "BNB"}))
    account.targets = targets(**{str(BTC): [0.1 + 0.2, 1_700_000_000_000_000, "0.123"]})
    fill = Fill(
        "main", "f", None, "v", BTC, Side.BUY, Decimal("0.5"), Decimal("10.10"), Decimal("0.01"), "BNB", FIRST
    )
    account.book.take_fill(fill)
    account.book.mark(BTC, Decimal("10.20"), FIRST)
    account.restrict(Cause.OPERATOR)
    event = account.step()
    assert event is not None
    found = Checkpoint.of(event, "main")
    assert found is not None
    assert found.ts == FIRST + MINUTE
    assert found.positions == tuple(account.book.holdings.positions.values())
    assert (found.prices, found.priced_at) == ({str(BTC): Decimal("10.20")}, {str(BTC): FIRST})
    assert found.rules == {str(BTC): RULES}
    assert (found.instruments, found.interval) == ((BTC,), Interval.M1)
    assert found.terms == {"risk": {"a": 0.1}}
    assert found.decision_hash == "abc"
    assert found.state == replace(
        account.state,
        cursor=FIRST,
        cash={"USDT": Decimal("94.85"), "BNB": Decimal("-0.01")},
        memory={"targets": account.targets.to_plain(), "decision_hash": "abc"},
    )
    assert targets(**found.state.memory["targets"]).of(BTC).target == 0.1 + 0.2  # type: ignore[arg-type]


def test_the_first_step_of_a_trading_day_has_one() -> None:
    account = Account()
    account.step()
    midnight = FIRST.replace(hour=0) + timedelta(days=1)
    assert account.step(midnight - 2 * MINUTE) is None
    told = account.step(midnight - MINUTE)  # these bars close on the new day
    assert told is not None
    assert "the trading day began" in told.message
    assert account.step(midnight) is None


def test_while_an_order_works_a_checkpoint_waits() -> None:
    account = Account()
    account.book.working["c1"] = order()
    assert account.step() is None
    assert account.step() is None
    account.book.working.clear()
    assert account.step() is not None


@pytest.mark.parametrize("change", ["restriction", "lifted", "base", "unexplained"])
def test_what_changes_between_steps_has_one(change: str) -> None:
    account = Account()
    if change == "lifted":
        account.restrict(Cause.FEED)
    account.step()
    match change:
        case "restriction":
            account.restrict(Cause.OPERATOR)
        case "lifted":
            account.state = replace(account.state, restrictions=())
        case "base":
            account.state = replace(account.state, peak_equity=Decimal(99))
        case "unexplained":
            account.state = remember(account.state, Comparison(unexplained={BTC: Decimal(-1)}))
    told = account.step()
    assert told is not None
    assert "something other than bars" in told.message
    checkpoint = Checkpoint.of(told, "main")
    assert checkpoint is not None
    assert unexplained(checkpoint.state) == unexplained(account.state)
    assert account.step() is None


def test_a_pause_that_losses_begin_needs_none_but_its_end_by_a_person_does() -> None:
    account = Account()
    account.step()
    account.restrict(Cause.LOSSES)
    assert account.step() is None
    account.state = replace(account.state, restrictions=())
    assert account.step() is not None


def test_an_event_of_something_else_or_of_another_account_is_no_checkpoint() -> None:
    event = Account("main-2").step()
    assert event is not None
    assert Checkpoint.of(event, "main") is None
    assert Checkpoint.of(event, "main-2") is not None
    assert Checkpoint.of(replace(event, type=EventType.RISK), "main-2") is None
    with pytest.raises(BadData, match="Checkpoint"):
        Checkpoint.of(replace(event, data={"ts": "yesterday"}), "main-2")
