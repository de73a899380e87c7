"""Whatever is done to the trader's records, in whatever order: the fake and the database agree."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.errors import Refused
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side
from autotrader.domain.positions import Position
from autotrader.domain.trading import RunStatus
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Change, EquityPoint, Lease, Page, Signal, TradingRecords
from tests.fakes.trading import InMemoryTradingRecords
from tests.services import fresh_database

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
ACCOUNTS = st.sampled_from(["paper", "live"])
INSTRUMENTS = [InstrumentId(Venue.BINANCE, "BTCUSDT"), InstrumentId(Venue.OANDA, "EUR_USD")]
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20)
SECONDS = st.integers(1, 90)
ALL = Page(limit=1000)


class Machine(RuleBasedStateMachine):
    """Does everything to both, and compares what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_database(fresh_database("sqlite", Path(self.folder.name)))
        self.fake, self.sql = InMemoryTradingRecords(), SqlTradingRecords(self.engine)
        self.log = SqlEventLog(self.engine)
        self.now = AT
        self.leases: list[Lease] = []
        self.newest: dict[str, Lease] = {}
        self.released: set[str] = set()
        self.revisions: dict[str, int] = {}
        self.ids = itertools.count()

    def both(self, work: Callable[[TradingRecords], Any]) -> Any:
        """What the work says, of either: a value, or that it was refused."""
        said = []
        for records in (self.fake, self.sql):
            try:
                said.append(work(records))
            except Refused as refusal:
                said.append(str(refusal))
        assert said[0] == said[1]
        return said[0]

    def holds(self, lease: Lease) -> bool:
        return self.newest[lease.account].token == lease.token and lease.account not in self.released

    @rule(account=ACCOUNTS, owner=st.sampled_from("ab"), seconds=SECONDS, data=st.data())
    def acquire(self, account: str, owner: str, seconds: int, data: Any) -> None:
        before = self.newest.get(account)
        of_account = [lease for lease in self.leases if lease.account == account]
        silent = data.draw(st.sampled_from([None, before, *of_account]))
        free = before in (None, silent) or account in self.released
        got = self.both(lambda r: r.acquire(account, owner, now=self.now, seconds=seconds, silent=silent))
        assert (got is not None) is free
        if got is not None:
            assert got.token == (before.token + 1 if before else 1)
            self.leases.append(got)
            self.newest[account] = got
            self.released.discard(account)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=SECONDS)
    def renew(self, data: Any, seconds: int) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        got = self.both(lambda r: r.renew(lease, now=self.now, seconds=seconds))
        assert isinstance(got, Lease) is self.holds(lease)
        if isinstance(got, Lease):
            self.newest[lease.account] = got

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        self.both(lambda r: r.release(lease, now=self.now))
        if self.holds(lease):
            self.released.add(lease.account)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), behind=st.sampled_from([0, 0, 0, 1]), with_state=st.booleans())
    def write(self, data: Any, behind: int, with_state: bool) -> None:
        # Mostly the newest lease, sometimes one of before.
        lease = data.draw(st.sampled_from([self.leases[-1], *self.leases]))
        stored = self.revisions.get(lease.account, 0)
        revision = max(stored - behind, 0)
        change = self._change(data, lease.account)
        if with_state:
            change = replace(change, state=self._state(lease.account, revision, data.draw(AMOUNTS)))
        said = self.both(lambda r: r.write(lease, change))
        accepted = self.holds(lease) and (not with_state or revision == stored)
        assert (said is None) is accepted
        if accepted and with_state:
            self.revisions[lease.account] = stored + 1

    @rule(account=ACCOUNTS, minutes=st.integers(0, 20))
    def forget(self, account: str, minutes: int) -> None:
        self.both(lambda r: r.forget(account, self.now - timedelta(minutes=minutes)))

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def they_agree(self) -> None:
        for account in ("paper", "live"):
            assert self.both(lambda r, a=account: r.lease(a)) == self.newest_as_stored(account)
            state = self.both(lambda r, a=account: r.state(a))
            assert (state.revision if state else 0) == self.revisions.get(account, 0)
            self.both(lambda r, a=account: r.holdings(a))
            self.both(lambda r, a=account: r.working_orders(a))
            for listing in ("orders", "fills", "signals", "equity"):
                self.both(lambda r, a=account, name=listing: list(getattr(r, name)(a, ALL)))
        assert self.fake.events.recent(limit=1000) == self.log.recent(limit=1000)

    def newest_as_stored(self, account: str) -> Lease | None:
        stored = self.fake.lease(account)
        known = self.newest.get(account)
        if stored is None or known is None:
            assert stored is known
            return None
        assert (stored.owner, stored.token) == (known.owner, known.token)
        return stored

    def _change(self, data: Any, account: str) -> Change:
        instrument = data.draw(st.sampled_from(INSTRUMENTS))
        amount = data.draw(AMOUNTS)
        number = data.draw(st.integers(0, 5))  # few, so that keys come again
        order = Order(
            account=account,
            client_order_id=f"{account}{number}",
            strategy_id="s",
            instrument=instrument,
            side=Side.of(amount),
            quantity=abs(amount),
            type=OrderType.MARKET,
            limit_price=None,
            reference_price=amount,
            reduces=bool(number % 2),
            decided_at=self.now,
            valid_until=self.now,
            recorded_at=self.now,
            reason="",
            status=data.draw(st.sampled_from(OrderStatus)),
        )
        fill = Fill(
            account, f"f{number}", None, None, instrument, order.side, amount, amount, amount, "X", self.now
        )
        ts = self.now.replace(second=0)
        key = f"e{next(self.ids) if number else 0}"
        return Change(
            orders=(order,),
            fills=(fill,),
            positions=(Position(account, instrument, amount, cost=amount),),
            equity=(EquityPoint(account, ts, amount, amount, 0.5, amount),),
            signals=(
                Signal(account, "s", instrument, ts, None, None, None, None, None, 0.1, amount, None, ""),
            ),
            events=(Event(key, EventType.ORDER, "info", f"of {amount}", "test", self.now),),
        )

    def _state(self, account: str, revision: int, amount: Decimal) -> AccountState:
        return AccountState(
            account=account,
            strategy_id="s",
            venue="binance",
            status=RunStatus.RUNNING,
            heartbeat_at=self.now,
            started_at=AT,
            owner="a",
            source="recorded",
            base_currency="USDT",
            initial_equity=amount,
            peak_equity=amount,
            day_start_equity=amount,
            equity=amount,
            cash={"USDT": amount},
            revision=revision,
        )

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()


@pytest.mark.parametrize("examples", [6, pytest.param(60, marks=pytest.mark.integration)])
def test_the_fake_and_the_database_agree_whatever_is_done(examples: int) -> None:
    run_state_machine_as_test(
        Machine,
        settings=hypothesis_settings(max_examples=examples, stateful_step_count=25),
    )
