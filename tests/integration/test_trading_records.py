"""Records of traders that are killed while they write, and that take the lease from each other."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.inserts import put_values
from autotrader.db.statements import Executes
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.db.trading_tables import ORDERS
from autotrader.domain.errors import Refused
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side
from autotrader.domain.positions import Position
from autotrader.domain.trading import RunStatus
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Change, EquityPoint, Lease, Page, Signal
from tests.killing import run_at_once
from tests.services import fresh_database

pytestmark = pytest.mark.integration

AT = datetime(2024, 3, 1, tzinfo=UTC)
ACCOUNT = "paper"
INSTRUMENTS = [InstrumentId(Venue.BINANCE, f"COIN{number}") for number in range(5)]
ALL = Page(limit=1_000_000)
FIRST = AccountState(
    account=ACCOUNT,
    strategy_id="s",
    venue="binance",
    status=RunStatus.RUNNING,
    heartbeat_at=AT,
    started_at=AT,
    owner="test",
    source="SIMULATED",
    base_currency="USDT",
    initial_equity=Decimal(1),
    peak_equity=Decimal(1),
    day_start_equity=Decimal(1),
    equity=Decimal(0),
)


def _change(state: AccountState, lease: Lease) -> Change:
    """The next one: orders of this minute are sent, those of the last are filled."""
    number = state.revision + 1
    at, count = AT + timedelta(minutes=number), Decimal(number)
    new = [_order(instrument, number, OrderStatus.SENT) for instrument in INSTRUMENTS]
    old = [_order(instrument, number - 1, OrderStatus.FILLED) for instrument in INSTRUMENTS if number > 1]
    return Change(
        state=replace(state, cursor=at, equity=count),
        orders=(*new, *old),
        fills=tuple(
            Fill(ACCOUNT, o.client_order_id, None, None, o.instrument, o.side, count, count, count, "X", at)
            for o in new
        ),
        positions=tuple(Position(ACCOUNT, instrument, count) for instrument in INSTRUMENTS),
        equity=(EquityPoint(ACCOUNT, at, count, count, 0.0, count),),
        signals=tuple(
            Signal(ACCOUNT, "s", instrument, at, None, None, None, None, None, 0.0, count, None, "")
            for instrument in INSTRUMENTS
        ),
        events=(Event(str(number), EventType.ORDER, "info", "-", "test", at, data={"token": lease.token}),),
    )


def _order(instrument: InstrumentId, number: int, status: OrderStatus) -> Order:
    return Order(
        account=ACCOUNT,
        client_order_id=f"{number:06}-{instrument.symbol}",
        strategy_id="s",
        instrument=instrument,
        side=Side.BUY,
        quantity=Decimal(number),
        type=OrderType.MARKET,
        limit_price=None,
        reference_price=Decimal(number),
        reduces=False,
        decided_at=AT + timedelta(minutes=number),
        valid_until=AT,
        recorded_at=AT,
        reason="",
        status=status,
    )


def _trade_for_ever(url: str, killed_after_seconds: float) -> None:
    """Take the lease, by force of a short one, and write until somebody else has taken it."""
    kill = threading.Timer(killed_after_seconds, os.kill, (os.getpid(), signal.SIGKILL))
    records = SqlTradingRecords(open_database(url))
    records.state(ACCOUNT)  # the connection is made and statements are compiled at first
    kill.start()
    while True:
        # A busy machine writes slowly: with always the same, short time nobody might ever come to it.
        seconds = random.choice((0.02, 0.2))
        now, seen = datetime.now(UTC), records.lease(ACCOUNT)
        silent = seen if seen and seen.expires_at <= now else None
        lease = records.acquire(ACCOUNT, str(os.getpid()), now=now, seconds=seconds, silent=silent)
        while lease is not None:
            try:
                records.write(lease, _change(records.state(ACCOUNT) or FIRST, lease))
            except Refused:
                lease = None


def _require_consistency(records: SqlTradingRecords, events: SqlEventLog) -> tuple[int, int]:
    """Raise if what was written together is not together; how many changes under how many leases."""
    state = records.state(ACCOUNT)
    if state is None:
        assert records.orders(ACCOUNT, ALL) == records.equity(ACCOUNT, ALL) == events.recent() == []
        return 0, 0
    count = state.revision
    minutes = [AT + timedelta(minutes=number) for number in range(count, 0, -1)]
    assert (state.cursor, state.equity) == (minutes[0], count)
    assert [point.at for point in records.equity(ACCOUNT, ALL)] == minutes
    assert [s.ts for s in records.signals(ACCOUNT, ALL)] == [at for at in minutes for _ in INSTRUMENTS]
    assert [fill.at for fill in records.fills(ACCOUNT, ALL)] == [at for at in minutes for _ in INSTRUMENTS]
    orders = [order.client_order_id for order in records.orders(ACCOUNT, ALL)]
    assert len(orders) == count * len(INSTRUMENTS)
    assert [o.client_order_id for o in records.working_orders(ACCOUNT)] == orders[: len(INSTRUMENTS)]
    positions = records.holdings(ACCOUNT).positions
    assert {i: p.quantity for i, p in positions.items()} == dict.fromkeys(INSTRUMENTS, count)
    told = list(reversed(events.recent(limit=1_000_000)))
    assert [event.key for event in told] == [str(number) for number in range(1, count + 1)]
    tokens = [int(str(event.data["token"])) for event in told]
    assert tokens == sorted(tokens), "an old owner wrote after a newer one"
    return count, len(set(tokens))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("processes", [1, 3])
def test_a_change_of_a_killed_trader_is_whole_or_was_never_made(
    kind: str, processes: int, tmp_path: Path
) -> None:
    url = fresh_database(kind, tmp_path)
    engine = open_database(url)
    records, events = SqlTradingRecords(engine), SqlEventLog(engine)
    randomness = random.Random(20240301)
    changes = leases = rounds = 0
    while rounds < 12 or not changes > leases > 0:
        assert rounds < 100, "on a busy machine, too, somebody writes before it is killed"
        longest = min(0.3 * 2 ** (rounds // 12), 5.0)  # where 0.3 s are too short to write anything
        killed = run_at_once(processes, _trade_for_ever, url, randomness.uniform(0.02, longest))
        assert killed == [True] * processes
        found = _require_consistency(records, events)
        assert found >= (changes, leases), "what was there is there no more"
        changes, leases = found
        rounds += 1
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_token_is_given_out_while_a_change_is_being_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_database(kind, tmp_path)
    ours, theirs = open_database(url), open_database(url)
    records, rival = SqlTradingRecords(ours), SqlTradingRecords(theirs)
    lease = records.acquire(ACCOUNT, "ours", now=AT, seconds=60)
    assert lease is not None
    checked, go = threading.Event(), threading.Event()

    def pause(transaction: Executes, table: sa.Table, values: Sequence[Any]) -> None:
        if table is ORDERS:
            checked.set()
            assert go.wait(timeout=60)
        put_values(transaction, table, values)

    monkeypatch.setattr("autotrader.db.trading_records.put_values", pause)
    expired = AT + timedelta(minutes=2)
    with ThreadPoolExecutor(2) as pool:
        written = pool.submit(records.write, lease, _change(FIRST, lease))
        assert checked.wait(timeout=60)
        taken = pool.submit(rival.acquire, ACCOUNT, "theirs", now=expired, seconds=60, silent=lease)
        with pytest.raises(TimeoutError):
            taken.result(timeout=0.5)
        assert rival.lease(ACCOUNT) == lease, "a reader is held up by nobody"
        go.set()
        written.result(timeout=60)
        newest = taken.result(timeout=60)
    assert newest is not None
    assert newest.token == 2
    assert len(rival.working_orders(ACCOUNT)) == len(INSTRUMENTS)
    ours.dispose()
    theirs.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_lease_is_renewed_beside_the_writes(kind: str, tmp_path: Path) -> None:
    engine = open_database(fresh_database(kind, tmp_path))
    records = SqlTradingRecords(engine)
    lease = records.acquire(ACCOUNT, "ours", now=AT, seconds=60)
    assert lease is not None

    def renew() -> None:
        for second in range(60):
            records.renew(lease, now=AT + timedelta(seconds=second), seconds=60)

    with ThreadPoolExecutor(1) as pool:
        renewed = pool.submit(renew)
        for _ in range(60):
            records.write(lease, _change(records.state(ACCOUNT) or FIRST, lease))
        renewed.result(timeout=60)
    state, newest = records.state(ACCOUNT), records.lease(ACCOUNT)
    assert state is not None
    assert newest is not None
    assert state.revision == 60
    assert newest.expires_at == AT + timedelta(seconds=119)
    engine.dispose()
