from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from autotrader.domain.errors import Refused
from autotrader.domain.orders import Order, OrderStatus
from autotrader.domain.positions import Holdings
from autotrader.ports.broker import VenueOrder
from autotrader.ports.trading import LONGEST_LEASE_SECONDS
from autotrader.trading.book import Book, Money
from autotrader.trading.broker_calls import BrokerCalls
from autotrader.trading.desk import ASKED_AT_ONCE, ATTEMPTS, OrderDesk
from autotrader.trading.lease_keeping import LeaseKeeper
from tests.brokers.paper import RULES, PaperHarness
from tests.fakes.clocks import SettableClock
from tests.fakes.misbehaving_broker import Fault, MisbehavingBroker
from tests.fakes.trading import InMemoryTradingRecords
from tests.unit.trading.account import BTC, WALL, an_order

LONGEST_SEND = 5.0
ANY = Decimal(100)


class Office:
    """A desk before a paper venue that does wrong what the test says next."""

    def __init__(self, venue: PaperHarness) -> None:
        self.venue = venue
        self.clock = SettableClock(WALL)
        self.faults: list[tuple[str, Fault]] = []
        self.lasts: dict[str, float] = {}  # seconds that a call takes, by its name
        self.asked: list[str] = []
        self.submitted: list[str] = []
        self.meeting: asyncio.Barrier | None = None
        self.records = InMemoryTradingRecords()
        self.book = Book(
            Holdings("main", {"USDT": Decimal(100_000)}),
            (),
            (),
            {BTC: RULES},
            Money("USD", frozenset({"USDT"})),
        )
        self.keeper = LeaseKeeper(
            self.records,
            "main",
            "me",
            self.clock,
            seconds=15,
            longest_send_seconds=0,
            has_ended=lambda _: False,
        )

    async def open(self) -> None:
        await self.keeper.take()
        self._context = self.venue.broker()
        broker = await self._context.__aenter__()
        self.broker = MisbehavingBroker(broker, self._script, on_submit=self._note)
        self.desk = OrderDesk(
            self.broker, self.book, self.keeper, BrokerCalls(), self.clock, longest_send_seconds=LONGEST_SEND
        )

    def lose_lease(self) -> None:
        """Another process, which saw ours silent, takes it over."""
        silent = self.records.lease("main")
        assert self.records.acquire("main", "another", now=self.clock.now(), seconds=15, silent=silent)

    def _script(self, call: str, about: str) -> Fault | None:
        if call == "order":
            self.asked.append(about)
        self.clock.advance(timedelta(seconds=self.lasts.get(call, 0)))
        if self.faults and self.faults[0][0] == call:
            return self.faults.pop(0)[1]
        return None

    async def _note(self, order: Order) -> None:
        self.submitted.append(order.client_order_id)
        if self.meeting is not None:
            await self.meeting.wait()

    def order(self, **options: object) -> Order:
        order = an_order(**options)  # type: ignore[arg-type]
        self.book.add(order)
        return order

    def status(self, order: Order) -> OrderStatus:
        found = self.book.find(order.client_order_id)
        assert found is not None
        return found.status

    async def resolve(
        self, order: Order, *, seconds: float = 0, objection: str = "", late: float = 0
    ) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        await self.desk.resolve(order.decided_at + timedelta(seconds=late), lambda _: objection)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(PaperHarness(Decimal(100_000), tmp_path / "journal.jsonl"))
    await office.open()
    yield office
    await office._context.__aexit__(None, None, None)


async def test_what_is_sent_is_open(office: Office) -> None:
    order = office.order()
    await office.desk.send(order, order.decided_at)
    assert office.status(order) is OrderStatus.OPEN
    assert not office.desk.doubtful


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.SILENT])
async def test_an_order_whose_answer_was_lost_is_asked_for_and_not_sent_again(
    office: Office, fault: Fault
) -> None:
    order = office.order()
    office.faults = [("submit", fault)]
    await office.desk.send(order, order.decided_at)
    assert office.status(order) is OrderStatus.SENT
    await office.resolve(order, seconds=1)
    assert office.status(order) is OrderStatus.OPEN
    assert len(office.submitted) == 1


@pytest.mark.parametrize("fault", [Fault.NEVER_ARRIVED, Fault.THROTTLED])
async def test_an_order_that_never_arrived_is_sent_again_once_the_venue_has_said_so(
    office: Office, fault: Fault
) -> None:
    order = office.order()
    office.faults = [("submit", fault), ("order", Fault.NEVER_ARRIVED)]
    await office.desk.send(order, order.decided_at)
    await office.resolve(order)
    assert office.submitted == [], "before its pause is over"
    await office.resolve(order, seconds=1)
    assert office.submitted == [], "before the venue has said that it does not have it"
    await office.resolve(order, seconds=60)
    assert office.status(order) is OrderStatus.OPEN
    assert office.submitted == [order.client_order_id]


@pytest.mark.parametrize("arrives", [True, False])
async def test_while_an_order_may_still_arrive_it_is_not_sent_again(office: Office, arrives: bool) -> None:
    order = office.order()
    office.faults = [("submit", Fault.NEVER_ARRIVED)]
    await office.desk.send(order, order.decided_at)
    await office.resolve(order, seconds=1)
    assert office.asked == [order.client_order_id]
    assert office.submitted == [], "the venue does not have it yet"
    if arrives:
        await office.broker.submit(order)
        office.submitted.clear()
    await office.resolve(order, seconds=LONGEST_SEND)
    assert office.asked == [order.client_order_id] * 2, "asked again before it is sent again"
    assert office.status(order) is OrderStatus.OPEN
    assert office.submitted == ([] if arrives else [order.client_order_id])


@pytest.mark.parametrize("objection", ["", "halted"])
async def test_an_order_can_have_left_as_late_as_the_call_that_hands_it_over_ends(
    office: Office, objection: str
) -> None:
    order = office.order()
    office.lasts = {"submit": LONGEST_SEND - 0.1}
    office.faults = [("submit", Fault.NEVER_ARRIVED)]
    await office.desk.send(order, order.decided_at)
    await office.resolve(order, seconds=LONGEST_SEND - 1, objection=objection)
    assert office.status(order) is OrderStatus.SENT
    assert office.submitted == []
    await office.resolve(order, seconds=1, objection=objection)
    assert office.status(order) is (OrderStatus.EXPIRED if objection else OrderStatus.OPEN)


@pytest.mark.parametrize("objection", ["", "halted"])
async def test_a_slow_answer_is_of_the_time_of_its_question(office: Office, objection: str) -> None:
    order = office.order()
    office.faults = [("submit", Fault.NEVER_ARRIVED)]
    await office.desk.send(order, order.decided_at)
    office.lasts = {"order": LONGEST_SEND}
    await office.resolve(order, seconds=1, objection=objection)
    assert office.status(order) is OrderStatus.SENT
    assert office.submitted == []
    await office.resolve(order, objection=objection)
    assert office.status(order) is (OrderStatus.EXPIRED if objection else OrderStatus.OPEN)


async def test_an_order_that_is_sent_again_late_is_judged_as_one_that_is_sent(office: Office) -> None:
    order = office.order()
    office.faults = [("submit", Fault.NEVER_ARRIVED)]
    await office.desk.send(order, order.decided_at)
    await office.resolve(order, seconds=1)
    await office.resolve(order, seconds=LONGEST_SEND, late=61)
    assert office.status(order) is OrderStatus.EXPIRED
    assert office.submitted == []


async def test_of_several_orders_in_doubt_none_waits_for_what_the_venue_says_of_another(
    office: Office,
) -> None:
    orders = [office.order(id=f"at{k}") for k in range(3)]
    office.meeting = asyncio.Barrier(3)
    await office.desk.resolve(orders[0].decided_at, lambda _: "")
    assert office.asked == ["at0", "at1", "at2"]
    assert [office.status(order) for order in orders] == [OrderStatus.OPEN] * 3


async def test_a_closed_desk_asks_for_no_order_in_doubt(office: Office) -> None:
    order = office.order()
    office.faults = [("submit", Fault.NEVER_ARRIVED)]
    await office.desk.send(order, order.decided_at)
    office.desk.close()
    await office.resolve(order, seconds=60)
    await office.desk.ask()
    assert office.asked == []
    assert await office.desk.cancel(order), "who stops asks once, and ends what cannot arrive any more"
    assert office.status(order) is OrderStatus.EXPIRED


async def test_what_the_desk_is_closed_on_is_not_sent_again(office: Office) -> None:
    orders = [office.order(id=f"at{k}") for k in range(ASKED_AT_ONCE + 3)]
    ask = office.broker.order

    async def close(order: Order) -> VenueOrder | None:
        office.desk.close()
        return await ask(order)

    office.broker.order = close  # type: ignore[method-assign]
    await office.desk.resolve(orders[0].decided_at, lambda _: "")
    assert len(office.asked) <= ASKED_AT_ONCE
    assert office.submitted == []


async def test_a_refused_order_is_not_sent_again(office: Office) -> None:
    order = office.order()
    office.faults = [("submit", Fault.REJECTED)]
    await office.desk.send(order, order.decided_at)
    assert office.status(order) is OrderStatus.REJECTED
    await office.resolve(order, seconds=60)
    assert office.submitted == []


@pytest.mark.parametrize("why", ["too old", "not allowed any more"])
async def test_an_order_in_doubt_that_may_not_be_sent_again_ends(office: Office, why: str) -> None:
    order = office.order()
    office.faults = [("submit", Fault.NEVER_ARRIVED)]
    await office.desk.send(order, order.decided_at)
    options = {"too old": {"late": 61.0}, "not allowed any more": {"objection": "halted"}}[why]
    await office.resolve(order, seconds=1, **options)  # type: ignore[arg-type]
    assert office.status(order) is OrderStatus.SENT, "it may be on its way still"
    await office.resolve(order, seconds=LONGEST_SEND, **options)  # type: ignore[arg-type]
    assert office.status(order) is OrderStatus.EXPIRED
    assert [letter.client_order_id for letter in office.desk.dead_letters] == [order.client_order_id]
    assert office.submitted == []


async def test_after_some_attempts_it_ends(office: Office) -> None:
    order = office.order()
    office.faults = [("submit", Fault.NEVER_ARRIVED)] * (ATTEMPTS + 1)
    await office.desk.send(order, order.decided_at)
    for _ in range(ATTEMPTS + 1):
        await office.resolve(order, seconds=30)
    assert office.status(order) is OrderStatus.EXPIRED
    assert office.desk.dead_letters[0].attempts == ATTEMPTS


async def test_a_recovery_asks_and_sends_nothing(office: Office) -> None:
    order = office.order()
    await office.desk.ask()
    assert office.status(order) is OrderStatus.RECORDED
    assert office.submitted == []
    await office.broker.submit(order)
    await office.desk.ask()
    assert office.status(order) is OrderStatus.OPEN


async def test_an_order_in_doubt_is_cancelled_where_the_venue_has_it(office: Office) -> None:
    order = office.order()
    office.faults = [("submit", Fault.LOST_ANSWER)]
    await office.desk.send(order, order.decided_at)
    assert await office.desk.cancel(order)
    assert office.status(order) is OrderStatus.CANCELLED


async def test_a_closed_desk_sends_nothing(office: Office) -> None:
    order = office.order()
    office.desk.close()
    await office.desk.send(order, order.decided_at)
    assert office.status(order) is OrderStatus.EXPIRED
    assert office.submitted == []
    assert office.desk.dead_letters == []


async def test_nothing_is_sent_without_the_lease(office: Office) -> None:
    order = office.order()
    office.clock.advance(timedelta(seconds=16))
    office.lose_lease()
    with pytest.raises(Refused):
        await office.desk.send(order, order.decided_at)
    assert office.submitted == []


async def test_of_several_orders_none_waits_for_what_the_venue_says_of_another(office: Office) -> None:
    orders = [office.order(id=f"at{k}") for k in range(3)]
    office.meeting = asyncio.Barrier(3)  # the venue answers once it has been asked three times
    await office.desk.send_all(orders, orders[0].decided_at)
    assert [office.status(order) for order in orders] == [OrderStatus.OPEN] * 3


async def test_of_several_orders_none_is_sent_without_the_lease(office: Office) -> None:
    orders = [office.order(id=f"at{k}") for k in range(3)]
    office.clock.advance(timedelta(seconds=16))
    office.lose_lease()
    with pytest.raises(Refused):
        await office.desk.send_all(orders, orders[0].decided_at)
    assert office.submitted == []


async def test_after_a_pause_in_which_nobody_took_it_the_lease_is_renewed(office: Office) -> None:
    order = office.order()
    office.clock.advance(timedelta(seconds=16))
    await office.desk.send(order, order.decided_at)
    assert office.status(order) is OrderStatus.OPEN


async def test_a_cancellation_whose_answer_is_lost_is_not_certain(office: Office) -> None:
    order = office.order()
    await office.desk.send(order, order.decided_at)
    office.faults = [("cancel", Fault.LOST_ANSWER)]
    assert not await office.desk.cancel(order)
    assert office.status(order) is OrderStatus.OPEN
    assert await office.desk.cancel(order)


Waiting = Callable[[LeaseKeeper], float]


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> SettableClock:
    """A clock that goes on while anybody sleeps."""
    clock = SettableClock(WALL)

    async def sleep(seconds: float) -> None:
        clock.advance(timedelta(seconds=seconds))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return clock


def _keeper(records: InMemoryTradingRecords, clock: SettableClock, *, gone: str = "") -> LeaseKeeper:
    return LeaseKeeper(
        records,
        "main",
        "me",
        clock,
        seconds=15,
        longest_send_seconds=5,
        has_ended=lambda owner: owner == gone,
    )


async def test_a_new_owner_waits_the_leases_time_and_until_what_was_sent_before_has_arrived(
    waited: SettableClock,
) -> None:
    records = InMemoryTradingRecords()
    records.acquire("main", "before", now=waited.now(), seconds=15)
    keeper, begun = _keeper(records, waited), waited.monotonic()
    await keeper.take()
    assert keeper.is_held
    assert waited.monotonic() - begun == pytest.approx(15 + 5, abs=1)


@pytest.mark.parametrize(("since_release", "seconds"), [(0.0, 5.0), (3.0, 2.0), (60.0, 0.0)])
async def test_what_an_owner_sent_just_before_it_gave_the_lease_back_is_waited_for(
    waited: SettableClock, since_release: float, seconds: float
) -> None:
    records = InMemoryTradingRecords()
    before = records.acquire("main", "before", now=waited.now(), seconds=10)
    assert before is not None
    records.release(before, now=waited.now())
    waited.advance(timedelta(seconds=since_release))
    begun = waited.monotonic()
    await _keeper(records, waited).take()
    assert waited.monotonic() - begun == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("ahead", "patience"), [(-7200, 15), (0, 15), (60, 75), (7200, LONGEST_LEASE_SECONDS)]
)
async def test_a_living_owner_keeps_its_lease_whatever_its_clock_shows(
    monkeypatch: pytest.MonkeyPatch, ahead: int, patience: int
) -> None:
    clock, records = SettableClock(WALL), InMemoryTradingRecords()
    theirs, begun = timedelta(seconds=ahead), clock.monotonic()
    held = records.acquire("main", "there", now=clock.now() + theirs, seconds=15)
    assert held is not None
    renewed, dies = begun, begun + 500

    async def sleep(seconds: float) -> None:
        nonlocal held, renewed
        clock.advance(timedelta(seconds=seconds))
        if renewed + 5 <= clock.monotonic() < dies:
            assert held is not None
            held, renewed = records.renew(held, now=clock.now() + theirs, seconds=15), clock.monotonic()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await _keeper(records, clock).take()
    assert renewed == pytest.approx(dies, abs=6)
    assert clock.monotonic() - renewed == pytest.approx(patience + 5, abs=2)


async def test_the_lease_of_a_process_that_is_gone_is_not_waited_for(waited: SettableClock) -> None:
    records = InMemoryTradingRecords()
    records.acquire("main", "gone", now=waited.now(), seconds=1000)
    begun = waited.monotonic()
    await _keeper(records, waited, gone="gone").take()
    assert waited.monotonic() - begun == pytest.approx(5)
