"""Executions are mailed together: one letter an interval, whoever asks, however often."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.alerts.digest import post_digests
from autotrader.alerts.postbox import MailState, Postbox
from autotrader.domain.errors import Unreachable
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Side
from autotrader.domain.positions import ClosedTrade
from autotrader.ports.trading import Change
from tests.fakes.clocks import SettableClock
from tests.fakes.mail import InMemoryMailServer
from tests.fakes.trading import InMemoryTradingRecords
from tests.unit.pipelines.test_summary_steps import STATE, WALL

HOUR = timedelta(hours=1)
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")


class Desk:
    def __init__(self, home: Path) -> None:
        self.records = InMemoryTradingRecords()
        self.server = InMemoryMailServer()
        self.postbox = Postbox(
            home / "mail",
            self.server,
            sender="autotrader@example.com",
            recipients=("desk@example.com",),
            clock=SettableClock(WALL),
        )

    def execute(self, *minutes: float, account: str = "main", quantity: str = "0.1") -> None:
        """Fills so many minutes after noon."""
        lease = self.records.acquire(account, "trader", now=WALL, seconds=60)
        assert lease is not None
        known = self.records.state(account)
        state = None if known else replace(STATE, account=account, source="live")
        fills = tuple(fill(minute, account, quantity) for minute in minutes)
        self.records.write(lease, Change(state=state, fills=fills))
        self.records.release(lease, now=WALL)

    def look(self, minutes: float) -> list[str]:
        posted = post_digests(
            self.records, self.postbox, interval=HOUR, now=NOON + timedelta(minutes=minutes)
        )
        return [one.key for one in posted]

    def subjects(self) -> list[str]:
        return [
            email.message_from_bytes(one.content, policy=email.policy.default)["Subject"]
            for one in self.server.delivered
        ]


def fill(minute: float, account: str, quantity: str) -> Fill:
    at = NOON + timedelta(minutes=minute)
    amounts = (Decimal(quantity), Decimal(60_000), Decimal(1))
    return Fill(account, f"f{minute}", "id", "v", BTC, Side.BUY, *amounts, "USDT", at)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_executions_of_an_hour_are_one_mail_once_the_hour_is_over(desk: Desk) -> None:
    desk.execute(1, 20, 59.9)
    assert desk.look(59.99) == []
    assert desk.look(60) == ["trade-execution-main-20240229T130000Z"]
    assert desk.look(60) == desk.look(119) == []
    assert desk.subjects() == ["main: 3 executions"]


def test_what_was_executed_in_the_meantime_is_in_the_next_one_and_only_there(desk: Desk) -> None:
    desk.execute(1)
    desk.look(61)
    desk.execute(60, 100)
    assert desk.look(125) == ["trade-execution-main-20240229T140000Z"]
    assert desk.subjects() == ["main: buy 0.1 BTCUSDT", "main: 2 executions"]


def test_after_an_outage_of_hours_nothing_is_missing(desk: Desk) -> None:
    desk.execute(1)
    desk.look(60)
    desk.execute(70, 200, 290)
    assert desk.look(310) == ["trade-execution-main-20240229T170000Z"]
    assert desk.subjects()[-1] == "main: 3 executions"


def test_without_an_execution_there_is_no_mail(desk: Desk) -> None:
    desk.execute(1, quantity="0")  # financing
    assert desk.look(600) == []


def test_the_first_mail_looks_back_one_day(desk: Desk) -> None:
    desk.execute(-60 * 30, 1)
    desk.look(60)
    assert desk.subjects() == ["main: buy 0.1 BTCUSDT"]


def test_accounts_whose_names_begin_alike_are_told_apart(desk: Desk) -> None:
    desk.execute(1)
    desk.execute(2, account="main-a")
    assert len(desk.look(60)) == 2
    desk.execute(70)
    assert desk.look(120) == ["trade-execution-main-20240229T140000Z"]


def test_what_the_mail_server_did_not_take_waits_and_is_not_made_again(desk: Desk) -> None:
    desk.execute(1)
    desk.server.failures = [Unreachable("away")]
    posted = post_digests(desk.records, desk.postbox, interval=HOUR, now=NOON + HOUR)
    assert [one.state for one in posted] == [MailState.WAITING]
    assert desk.look(61) == []
    desk.postbox.deliver()
    assert desk.subjects() == ["main: buy 0.1 BTCUSDT"]


def test_trades_that_were_closed_are_named(desk: Desk) -> None:
    desk.execute(1)
    lease = desk.records.acquire("main", "trader", now=WALL, seconds=60)
    assert lease is not None
    trade = ClosedTrade(
        "main", BTC, Side.BUY, Decimal(1), Decimal(10), Decimal(11), Decimal(0), Decimal("7.25"), NOON, NOON
    )
    desk.records.write(lease, Change(trades=(trade,)))
    desk.look(60)
    assert b"+7.25" in desk.server.delivered[0].content
