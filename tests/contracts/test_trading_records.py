"""What all records of the trader do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.errors import Refused
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side
from autotrader.domain.positions import ClosedTrade, Holdings, Position
from autotrader.domain.trading import (
    Cause,
    ControlKind,
    DiscrepancyKind,
    RecoveryKind,
    RunStatus,
    TradingState,
)
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.trading import (
    AccountState,
    Change,
    Control,
    DeadLetter,
    Discrepancy,
    EquityPoint,
    Lease,
    Page,
    Recovery,
    Restriction,
    Signal,
    TradingReads,
    TradingRecords,
)
from tests.fakes.trading import InMemoryTradingRecords
from tests.services import fresh_database

AT = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTES = [AT + timedelta(minutes=minutes) for minutes in range(10)]
ALL = Page()
PAPER, OTHER = "paper", "other"
BTC, ETH = InstrumentId(Venue.BINANCE, "BTCUSDT"), InstrumentId(Venue.BINANCE, "ETHUSDT")
EUR = InstrumentId(Venue.OANDA, "EUR_USD")
# Neither a float nor a number with a fixed scale could keep these.
EXACT = [
    Decimal("0.1"),
    Decimal("-12345678901234567890.12345678"),
    Decimal("0.000000000000000000000000001"),
    Decimal("61234.10"),
    Decimal("1E+9"),
    Decimal(1) / Decimal(3),
]

STATE = AccountState(
    account=PAPER,
    strategy_id="autotrader-strategy",
    venue="binance",
    status=RunStatus.RUNNING,
    heartbeat_at=AT,
    started_at=AT - timedelta(hours=1),
    owner="host:1",
    source="recorded",
    base_currency="USDT",
    initial_equity=Decimal("100000.00"),
    peak_equity=EXACT[3],
    day_start_equity=EXACT[5],
    equity=EXACT[1],
    cash={"USDT": EXACT[5], "BNB": EXACT[2]},
    restrictions=(
        Restriction(Cause.DRAWDOWN, TradingState.HALTED, "15.01 %", AT, "trader"),
        Restriction(Cause.LOSSES, TradingState.REDUCING, "3 losses", AT, "trader", until=MINUTES[5]),
    ),
    day=date(2024, 3, 1),
    consecutive_losses=3,
    cursor=MINUTES[1],
    fills_since=MINUTES[2],
    memory={"targets": {"binance:BTCUSDT": [0.1 + 0.2, "2024-03-01T12:00:00+00:00", None]}},
)
BARE = replace(STATE, cash={}, restrictions=(), day=None, cursor=None, fills_since=None, memory={})
ORDER = Order(
    account=PAPER,
    client_order_id="at1",
    strategy_id="autotrader-strategy",
    instrument=BTC,
    side=Side.BUY,
    quantity=EXACT[2],
    type=OrderType.LIMIT,
    limit_price=EXACT[3],
    reference_price=EXACT[4],
    reduces=True,
    decided_at=AT,
    valid_until=MINUTES[1],
    recorded_at=MINUTES[2],
    reason="a target of 0.2",
)
FILL = Fill(
    account=PAPER,
    fill_id="f1",
    client_order_id="at1",
    venue_order_id="v1",
    instrument=BTC,
    side=Side.BUY,
    quantity=EXACT[0],
    price=EXACT[3],
    fee=EXACT[2],
    fee_currency="BNB",
    at=AT,
)
POSITION = Position(PAPER, BTC, *EXACT[:4], AT, *EXACT[1:])
TRADE = ClosedTrade(PAPER, BTC, Side.SELL, *EXACT[:5], opened_at=AT, closed_at=MINUTES[3])
POINT = EquityPoint(PAPER, AT, EXACT[5], EXACT[1], 0.1 + 0.2, EXACT[2])
SIGNAL = Signal(
    account=PAPER,
    strategy_id="autotrader-strategy",
    instrument=BTC,
    ts=AT,
    version="v1.0.0",
    color="green",
    epoch=3,
    score=-1 / 3,
    confidence=0.7,
    target=0.1 + 0.2,
    price=EXACT[3],
    client_order_id="at1",
    outcome="0.1 bought",
)
SILENT = replace(
    SIGNAL,
    instrument=ETH,
    version=None,
    color=None,
    epoch=None,
    score=None,
    confidence=None,
    client_order_id=None,
)
RECOVERY = Recovery(
    id="r1",
    account=PAPER,
    kind=RecoveryKind.CRASH,
    at=AT,
    seconds=1.25,
    adopted_fills=2,
    discrepancies=(
        Discrepancy(DiscrepancyKind.ORPHANED_ORDER, BTC, EXACT[5], EXACT[1], EXACT[2], True, "ours"),
        Discrepancy(DiscrepancyKind.EXTRA_AT_BROKER, EUR, EXACT[0], EXACT[4], EXACT[3], False, "theirs"),
    ),
    resolved=False,
    reason="a heartbeat of 301 s ago",
)
LETTER = DeadLetter(PAPER, "at1", AT, 5, "the venue does not answer")
CONTROL = Control("c1", PAPER, ControlKind.HALT, "alice", "it is late", AT)


def event(key: str) -> Event:
    return Event(key, EventType.ORDER, "info", f"it is told: {key}", "trader", AT)


@dataclass
class Subject:
    records: TradingRecords
    events: EventLog

    def hold(self, account: str = PAPER) -> Lease:
        lease = self.records.acquire(account, "host:1", now=AT, seconds=60)
        assert lease is not None
        return lease

    def write(self, **change: Any) -> None:
        """Under the newest lease of the account."""
        lease = self.records.lease(PAPER) or self.hold()
        self.records.write(lease, Change(**change))

    def everything(self, account: str = PAPER) -> list[object]:
        """All that can be read of an account."""
        records = self.records
        listings: list[Callable[[str, Page], Sequence[object]]] = [
            records.orders,
            records.fills,
            records.trades,
            records.signals,
            records.equity,
            records.recoveries,
            records.dead_letters,
        ]
        return [
            records.state(account),
            records.holdings(account),
            *(list(listing(account, ALL)) for listing in listings),
            list(records.unanswered(account)),
            list(self.events.recent()),
        ]


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "memory":
        records = InMemoryTradingRecords()
        yield Subject(records, records.events)
        return
    engine = open_database(fresh_database(request.param, tmp_path))
    yield Subject(SqlTradingRecords(engine), SqlEventLog(engine))
    engine.dispose()


@pytest.fixture
def records(subject: Subject) -> TradingRecords:
    return subject.records


# ------------------------------------------------------------------------------------ the lease


def test_at_first_there_is_nothing(subject: Subject) -> None:
    records = subject.records
    assert isinstance(records, TradingRecords)
    assert (records.lease(PAPER), records.order("at1"), records.control("c1")) == (None, None, None)
    assert (records.accounts(), records.working_orders(PAPER), records.order_times(PAPER, AT)) == ([], [], [])
    assert subject.everything() == [None, Holdings(PAPER), *[[]] * 9]


def test_a_lease_is_taken_by_one_and_by_nobody_else_who_did_not_see_it_go_silent(
    records: TradingRecords,
) -> None:
    first = records.acquire(PAPER, "host:1", now=AT, seconds=60)
    assert first == records.lease(PAPER) == Lease(PAPER, "host:1", 1, MINUTES[1])
    assert first is not None
    # By no clock: another machine's may be hours ahead.
    hours_ahead = AT + timedelta(hours=5)
    assert records.acquire(PAPER, "host:2", now=hours_ahead, seconds=60) is None
    prolonged = records.renew(first, now=MINUTES[0], seconds=120)
    assert records.acquire(PAPER, "host:2", now=hours_ahead, seconds=60, silent=first) is None
    assert records.lease(PAPER) == prolonged
    second = records.acquire(PAPER, "host:2", now=MINUTES[1], seconds=60, silent=prolonged)
    assert second == records.lease(PAPER) == Lease(PAPER, "host:2", 2, MINUTES[2])
    assert records.acquire(PAPER, "host:3", now=MINUTES[1], seconds=60, silent=prolonged) is None


def test_an_owner_that_crashed_waits_for_its_own_lease_and_gets_another_token(
    records: TradingRecords,
) -> None:
    lost = records.acquire(PAPER, "host:1", now=AT, seconds=60)
    assert records.acquire(PAPER, "host:1", now=AT, seconds=60) is None
    assert records.acquire(PAPER, "host:1", now=MINUTES[1], seconds=60, silent=lost) == Lease(
        PAPER, "host:1", 2, MINUTES[2]
    )


def test_leases_of_accounts_are_apart(subject: Subject) -> None:
    assert subject.hold(PAPER).token == subject.hold(OTHER).token == 1


def test_a_lease_is_prolonged_as_long_as_no_other_token_was_given_out(subject: Subject) -> None:
    records = subject.records
    lease = subject.hold()
    assert records.renew(lease, now=MINUTES[0], seconds=120) == replace(lease, expires_at=MINUTES[2])
    # Expired, but nobody took it: nobody else has traded.
    late = records.renew(lease, now=MINUTES[5], seconds=60)
    assert late == records.lease(PAPER) == replace(lease, expires_at=MINUTES[6])
    other = records.acquire(PAPER, "host:2", now=MINUTES[6], seconds=60, silent=late)
    with pytest.raises(Refused, match=r"token 1 of host:1.*token 2 of host:2"):
        records.renew(lease, now=MINUTES[6], seconds=60)
    assert records.lease(PAPER) == other


def test_renewing_beats_the_accounts_heart_and_changes_nothing_else(subject: Subject) -> None:
    subject.write(state=STATE)
    lease = subject.records.lease(PAPER)
    assert lease is not None
    subject.records.renew(lease, now=MINUTES[1], seconds=60)
    assert subject.records.state(PAPER) == replace(STATE, revision=1, heartbeat_at=MINUTES[1])


def test_what_was_released_is_free_at_once_and_can_be_used_no_more(subject: Subject) -> None:
    records, lease = subject.records, subject.hold()
    records.release(lease, now=MINUTES[0])
    with pytest.raises(Refused, match="released"):
        records.renew(lease, now=AT, seconds=60)
    with pytest.raises(Refused, match="released"):
        records.write(lease, Change(orders=(ORDER,)))
    # By a clock that is behind, too; and the token grows.
    early = AT - timedelta(seconds=10)
    assert records.acquire(PAPER, "host:2", now=early, seconds=60) == Lease(
        PAPER, "host:2", 2, early + timedelta(seconds=60)
    )


def test_releasing_a_lease_that_is_lost_leaves_it_with_its_owner(subject: Subject) -> None:
    records, lease = subject.records, subject.hold()
    other = records.acquire(PAPER, "host:2", now=MINUTES[1], seconds=60, silent=lease)
    records.release(lease, now=MINUTES[1])
    assert records.lease(PAPER) == other
    assert records.acquire(PAPER, "host:3", now=MINUTES[1], seconds=60) is None


def test_of_many_that_ask_at_once_one_gets_the_lease(records: TradingRecords) -> None:
    for round_, now in enumerate(MINUTES[:4], start=1):
        seen = records.lease(PAPER)
        with ThreadPoolExecutor(8) as pool:
            asked = [
                pool.submit(records.acquire, PAPER, f"o{n}", now=now, seconds=60, silent=seen)
                for n in range(8)
            ]
        assert [lease.token for lease in (a.result() for a in asked) if lease] == [round_]


# ------------------------------------------------------------------------------ a change, whole


def test_all_of_a_change_comes_back_as_it_was_written(subject: Subject) -> None:
    sent = replace(ORDER, client_order_id="at2", type=OrderType.MARKET, limit_price=None, average_price=None)
    subject.records.ask(CONTROL)
    answered = replace(CONTROL, answered_at=MINUTES[1], answer="halted")
    subject.write(
        state=STATE,
        orders=(ORDER, sent),
        fills=(FILL, replace(FILL, fill_id="f2", client_order_id=None, venue_order_id=None)),
        positions=(POSITION, Position(PAPER, ETH)),
        trades=(TRADE,),
        equity=(POINT,),
        signals=(SIGNAL, SILENT),
        recoveries=(RECOVERY,),
        dead_letters=(LETTER,),
        answered=(answered,),
        events=(event("e1"), event("e2")),
    )
    stored = replace(STATE, revision=1)
    assert subject.everything() == [
        stored,
        Holdings(PAPER, STATE.cash, {BTC: POSITION, ETH: Position(PAPER, ETH)}),
        [ORDER, sent],
        [FILL, replace(FILL, fill_id="f2", client_order_id=None, venue_order_id=None)],
        [TRADE],
        [SIGNAL, SILENT],
        [POINT],
        [RECOVERY],
        [LETTER],
        [],
        [event("e2"), event("e1")],
    ]
    assert subject.records.accounts() == [stored]
    assert subject.records.control("c1") == answered
    assert subject.records.order("at1") == ORDER


def test_what_comes_back_is_of_the_same_types(subject: Subject) -> None:
    subject.write(state=STATE, orders=(ORDER,), recoveries=(RECOVERY,))
    state, order = subject.records.state(PAPER), subject.records.order("at1")
    (recovery,) = subject.records.recoveries(PAPER, ALL)
    for found, given in [
        (state, replace(STATE, revision=1)),
        (order, ORDER),
        (recovery, RECOVERY),
        (recovery.discrepancies[0], RECOVERY.discrepancies[0]),
        (recovery.discrepancies[0].instrument, BTC),
        (state and state.restrictions[0], STATE.restrictions[0]),
    ]:
        types = [{f.name: type(getattr(v, f.name)) for f in fields(v)} for v in (found, given)]  # type: ignore[arg-type]
        assert types[0] == types[1]


def test_a_state_without_anything_optional_comes_back(subject: Subject) -> None:
    subject.write(state=BARE)
    assert subject.records.state(PAPER) == replace(BARE, revision=1)


def test_writing_the_same_change_again_changes_nothing_but_is_no_error(subject: Subject) -> None:
    change = {
        "orders": (ORDER,),
        "fills": (FILL, FILL),
        "positions": (POSITION,),
        "trades": (TRADE,),
        "equity": (POINT,),
        "signals": (SIGNAL,),
        "recoveries": (RECOVERY,),
        "dead_letters": (LETTER,),
        "answered": (replace(CONTROL, answered_at=AT, answer="halted"),),
        "events": (event("e1"),),
    }
    subject.write(**change)
    once = subject.everything()
    subject.write(**change)
    assert subject.everything() == once


def test_orders_and_positions_are_replaced_by_key(subject: Subject) -> None:
    subject.write(orders=(ORDER,), positions=(POSITION,))
    moved = ORDER.with_fill(FILL)
    subject.write(orders=(moved,), positions=(Position(PAPER, BTC, fees=EXACT[5]),))
    assert subject.records.orders(PAPER, ALL) == [moved]
    assert subject.records.holdings(PAPER).positions == {BTC: Position(PAPER, BTC, fees=EXACT[5])}


def test_of_an_order_that_moves_twice_in_one_change_the_last_state_is_kept(subject: Subject) -> None:
    sent = ORDER.moved(OrderStatus.SENT)
    subject.write(orders=(ORDER, sent))
    assert subject.records.orders(PAPER, ALL) == [sent]


def test_the_first_of_what_is_told_once_stays(subject: Subject) -> None:
    subject.write(fills=(FILL,), signals=(SIGNAL,), equity=(POINT,), trades=(TRADE,), dead_letters=(LETTER,))
    once = subject.everything()
    subject.write(
        fills=(replace(FILL, price=EXACT[0]),),
        signals=(replace(SIGNAL, target=0.0),),
        equity=(replace(POINT, cash=EXACT[0]),),
        trades=(replace(TRADE, pnl=EXACT[0]),),
        dead_letters=(replace(LETTER, attempts=1),),
    )
    assert subject.everything() == once


def test_a_fill_of_the_same_id_is_another_one_in_another_instrument(subject: Subject) -> None:
    subject.write(fills=(FILL, replace(FILL, instrument=ETH)))
    assert len(subject.records.fills(PAPER, ALL)) == 2


def test_a_recovery_takes_on_its_first_acknowledgement_and_nothing_else(subject: Subject) -> None:
    subject.write(recoveries=(RECOVERY,))
    acknowledged = replace(RECOVERY, acknowledged_by="alice", acknowledged_at=MINUTES[1])
    subject.write(recoveries=(replace(acknowledged, discrepancies=(), resolved=True),))
    subject.write(recoveries=(replace(RECOVERY, acknowledged_by="bob", acknowledged_at=MINUTES[2]),))
    subject.write(recoveries=(RECOVERY,))
    assert subject.records.recoveries(PAPER, ALL) == [acknowledged]


# ------------------------------------------------------------------------- a change, or nothing


@pytest.mark.parametrize("token", [0, 2])
def test_a_change_under_another_token_is_refused_and_leaves_nothing(subject: Subject, token: int) -> None:
    lease = replace(subject.hold(), token=token)
    before = subject.everything()
    with pytest.raises(Refused, match=rf"token {token} of host:1.*trade no more"):
        subject.records.write(lease, Change(STATE, (ORDER,), (FILL,), events=(event("e1"),)))
    assert subject.everything() == before


def test_without_any_lease_nothing_is_written(records: TradingRecords) -> None:
    with pytest.raises(Refused, match="none was ever taken"):
        records.write(Lease(PAPER, "host:1", 1, MINUTES[1]), Change(orders=(ORDER,)))
    assert records.orders(PAPER, ALL) == []


def test_an_old_owner_that_wakes_up_cannot_write(subject: Subject) -> None:
    old = subject.hold()
    new = subject.records.acquire(PAPER, "host:2", now=MINUTES[1], seconds=60, silent=old)
    assert new is not None
    subject.records.write(new, Change(state=STATE))
    with pytest.raises(Refused):
        subject.records.write(old, Change(state=replace(STATE, revision=1), orders=(ORDER,)))
    assert subject.records.state(PAPER) == replace(STATE, revision=1)
    assert subject.records.working_orders(PAPER) == []


@pytest.mark.parametrize("revision", [0, 1, 3])
def test_a_state_of_another_revision_is_refused_and_leaves_nothing(subject: Subject, revision: int) -> None:
    subject.write(state=STATE)
    subject.write(state=replace(STATE, revision=1))
    before = subject.everything()
    with pytest.raises(Refused, match=f"revision 2, was {revision}"):
        subject.write(state=replace(STATE, revision=revision), orders=(ORDER,), events=(event("e"),))
    assert subject.everything() == before


def test_a_first_state_has_revision_zero(subject: Subject) -> None:
    with pytest.raises(Refused, match="revision none, was 4"):
        subject.write(state=replace(STATE, revision=4))
    assert subject.records.state(PAPER) is None


@pytest.mark.parametrize(
    "change",
    [
        Change(state=replace(STATE, account=OTHER)),
        Change(orders=(ORDER, replace(ORDER, account=OTHER))),
        Change(positions=(replace(POSITION, account=OTHER),)),
        Change(answered=(replace(CONTROL, account=OTHER),)),
    ],
)
def test_a_lease_is_no_right_to_write_to_another_account(subject: Subject, change: Change) -> None:
    with pytest.raises(ValueError, match="paper, was also of other"):
        subject.records.write(subject.hold(), change)
    assert subject.everything() == [None, Holdings(PAPER), *[[]] * 9]


def test_of_writers_that_read_the_same_revision_one_gets_through(subject: Subject) -> None:
    lease = subject.hold()

    def write(number: int) -> bool:
        try:
            subject.records.write(lease, Change(state=STATE, events=(event(f"e{number}"),)))
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1
    assert len(subject.events.recent()) == 1


# ------------------------------------------------------------------------------------ listings


def test_working_orders_are_those_that_are_not_final_oldest_first(subject: Subject) -> None:
    orders = [
        replace(ORDER, client_order_id=f"at{n}", status=status, decided_at=MINUTES[9 - n])
        for n, status in enumerate(OrderStatus)
    ]
    subject.write(orders=tuple(orders))
    working = [order for order in orders if not order.status.is_final]
    assert subject.records.working_orders(PAPER) == list(reversed(working))
    assert subject.records.working_orders(OTHER) == []


def test_order_times_are_of_what_was_decided_since_and_not_of_what_expired(subject: Subject) -> None:
    orders = [
        replace(ORDER, client_order_id=f"at{n}", decided_at=MINUTES[n], status=status)
        for n, status in [
            (5, OrderStatus.REJECTED),
            (2, OrderStatus.FILLED),
            (3, OrderStatus.EXPIRED),
            (1, OrderStatus.SENT),
        ]
    ]
    subject.write(orders=tuple(orders))
    assert subject.records.order_times(PAPER, MINUTES[2]) == [MINUTES[2], MINUTES[5]]
    assert subject.records.order_times(OTHER, AT) == []


def test_known_fills_are_those_from_a_time_on(subject: Subject) -> None:
    subject.write(fills=(FILL, replace(FILL, fill_id="f2", instrument=ETH, at=MINUTES[2])))
    assert subject.records.known_fills(PAPER, AT) == {(BTC, "f1"), (ETH, "f2")}
    assert subject.records.known_fills(PAPER, MINUTES[2]) == {(ETH, "f2")}
    assert subject.records.known_fills(OTHER, AT) == frozenset()


def _listings(subject: Subject) -> list[tuple[str, Callable[[str, Page], Sequence[Any]]]]:
    """Write one row a minute to each listing; its time's name, and the listing."""
    numbers = range(6)
    subject.write(
        orders=tuple(replace(ORDER, client_order_id=f"at{n}", decided_at=MINUTES[n]) for n in numbers),
        fills=tuple(replace(FILL, fill_id=f"f{n}", at=MINUTES[n]) for n in numbers),
        trades=tuple(replace(TRADE, closed_at=MINUTES[n]) for n in numbers),
        signals=tuple(replace(SIGNAL, ts=MINUTES[n]) for n in numbers),
        equity=tuple(replace(POINT, at=MINUTES[n]) for n in numbers),
        recoveries=tuple(replace(RECOVERY, id=f"r{n}", at=MINUTES[n]) for n in numbers),
        dead_letters=tuple(replace(LETTER, client_order_id=f"at{n}", at=MINUTES[n]) for n in numbers),
    )
    records = subject.records
    return [
        ("decided_at", records.orders),
        ("at", records.fills),
        ("closed_at", records.trades),
        ("ts", records.signals),
        ("at", records.equity),
        ("at", records.recoveries),
        ("at", records.dead_letters),
    ]


def test_a_page_is_of_a_half_open_time_newest_first_and_of_the_account(subject: Subject) -> None:
    for time, listing in _listings(subject):

        def minutes(
            page: Page,
            time: str = time,
            listing: Callable[[str, Page], Sequence[Any]] = listing,
        ) -> list[int]:
            return [MINUTES.index(getattr(row, time)) for row in listing(PAPER, page)]

        assert minutes(ALL) == [5, 4, 3, 2, 1, 0]
        assert minutes(Page(start=MINUTES[2], end=MINUTES[5])) == [4, 3, 2]
        assert minutes(Page(limit=2, offset=1)) == [4, 3]
        assert minutes(Page(start=MINUTES[2], limit=2, offset=3)) == [2]
        assert minutes(Page(offset=6)) == []
        assert listing(OTHER, ALL) == []


def test_a_page_may_be_of_one_instrument_where_there_is_one(subject: Subject) -> None:
    btc, eth = Page(instrument=BTC), Page(instrument=ETH)
    subject.write(
        orders=(ORDER, replace(ORDER, client_order_id="at2", instrument=ETH)),
        fills=(FILL, replace(FILL, instrument=ETH)),
        trades=(TRADE, replace(TRADE, instrument=ETH)),
        signals=(SIGNAL, SILENT),
    )
    records = subject.records
    for listing in (records.orders, records.fills, records.trades, records.signals):
        assert [row.instrument for row in listing(PAPER, btc)] == [BTC]
        assert [row.instrument for row in listing(PAPER, eth)] == [ETH]
    for whole in (records.equity, records.recoveries, records.dead_letters):
        with pytest.raises(ValueError, match="they have none"):
            whole(PAPER, btc)


def test_rows_of_one_instant_are_in_one_order_whatever_the_page(subject: Subject) -> None:
    ids = ["b", "A", "a", "_", "B", "1"]
    subject.write(orders=tuple(replace(ORDER, client_order_id=id_) for id_ in ids))
    found = [subject.records.orders(PAPER, Page(limit=1, offset=n))[0].client_order_id for n in range(6)]
    assert found == sorted(ids)


def test_reads_at_once_see_one_instant_whoever_writes_meanwhile(subject: Subject) -> None:
    seven = replace(POSITION, quantity=Decimal(7))
    subject.write(state=STATE, positions=(POSITION,), signals=(SIGNAL,))
    writing = threading.Thread(
        target=subject.write,
        kwargs={"state": replace(STATE, revision=1), "positions": (seven,), "signals": (SILENT,)},
    )

    def seen(reads: TradingReads) -> tuple[object, ...]:
        state = reads.state(PAPER)
        return state and state.revision, reads.holdings(PAPER).position(BTC), len(reads.signals(PAPER, ALL))

    with subject.records.at_once() as reads:
        before = reads.state(PAPER)
        writing.start()
        writing.join(0.5)  # a store may as well let the writer wait until the reads are over
        assert reads.state(PAPER) == before
        assert seen(reads) == (1, POSITION, 1)
    writing.join(30)
    assert seen(subject.records) == (2, seven, 2)


def test_accounts_are_listed_by_name(subject: Subject) -> None:
    for name in ("b", "a"):
        subject.records.write(subject.hold(name), Change(state=replace(BARE, account=name)))
    assert [state.account for state in subject.records.accounts()] == ["a", "b"]


# ----------------------------------------------------------------------------------- retention


def test_old_signals_and_equity_are_forgotten_and_nothing_else(subject: Subject) -> None:
    times = [AT - n * timedelta(hours=20) for n in range(5)]
    subject.write(
        state=STATE,
        orders=(replace(ORDER, decided_at=times[4]),),
        fills=(replace(FILL, at=times[4]),),
        trades=(replace(TRADE, closed_at=times[4]),),
        signals=tuple(replace(s, ts=at) for at in times for s in (SIGNAL, SILENT)),
        equity=tuple(replace(POINT, at=at) for at in times),
    )
    other = replace(SIGNAL, account=OTHER, ts=times[4])
    subject.records.write(subject.hold(OTHER), Change(signals=(other,)))
    before = subject.everything()
    assert subject.records.forget(PAPER, times[1]) == 9
    after = subject.everything()
    assert [s.ts for s in subject.records.signals(PAPER, ALL)] == [times[0], times[0], times[1], times[1]]
    assert [point.at for point in subject.records.equity(PAPER, ALL)] == times[:2]
    assert [a for n, a in enumerate(after) if n not in (5, 6)] == [
        b for n, b in enumerate(before) if n not in (5, 6)
    ]
    assert subject.records.signals(OTHER, ALL) == [other]
    assert subject.records.forget(PAPER, times[1]) == 0


# --------------------------------------------------------------------------- what persons ask


def test_a_request_is_asked_once_and_waits_for_its_answer(subject: Subject) -> None:
    records = subject.records
    later = Control("c0", PAPER, ControlKind.RESUME, "bob", "it is early", MINUTES[1])
    for control in (
        later,
        CONTROL,
        replace(CONTROL, reason="another"),
        replace(CONTROL, id="x", account=OTHER),
    ):
        records.ask(control)
    assert records.unanswered(PAPER) == [CONTROL, later]
    answered = replace(CONTROL, answered_at=MINUTES[2], answer="halted")
    subject.write(answered=(answered,))
    subject.write(answered=(replace(CONTROL, answered_at=MINUTES[3], answer="no"),))
    records.ask(CONTROL)
    assert records.unanswered(PAPER) == [later]
    assert records.control("c1") == answered


def test_a_strategy_is_enabled_until_somebody_disables_it(subject: Subject) -> None:
    records = subject.records

    def enable(enabled: bool, at: datetime = AT) -> bool:
        return records.enable_strategy("s", enabled, actor="alice", reason="it loses", at=at)

    assert records.strategy_enabled("s")
    assert not enable(True)
    assert subject.events.recent() == []
    assert enable(False)
    assert not enable(False)
    assert not records.strategy_enabled("s")
    assert records.strategy_enabled("another")
    assert enable(True, MINUTES[1])
    assert enable(False, MINUTES[2])
    told = subject.events.recent(type=EventType.AUDIT)
    assert [(e.severity, e.actor, e.at) for e in told] == [
        ("warning", "alice", MINUTES[2]),
        ("info", "alice", MINUTES[1]),
        ("warning", "alice", AT),
    ]
    assert told[0].message == "s was disabled by alice: it loses"
