"""What all deployment records do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import NotFound, Refused
from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage
from autotrader.ports.deployment import (
    DeploymentRecords,
    Pair,
    Rollout,
    Route,
    Routing,
    Slot,
    SlotState,
    StageRecord,
    Watched,
)
from autotrader.ports.events import Event, EventLog, EventType
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.services import fresh_database

AT = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTES = [AT + timedelta(minutes=minutes) for minutes in range(10)]
STRATEGY = "autotrader-strategy"
BTC, ETH = "binance:BTCUSDT", "binance:ETHUSDT"
ROLLOUT = Rollout(
    id="r1",
    strategy_id=STRATEGY,
    version="v1.1.0",
    previous_version=None,
    candidate=Color.GREEN,
    profile="fast",
    state=RolloutState.WORKING,
    stage=Stage.PRE_DEPLOY_CHECKS,
    stage_outcome=None,
    goal=Stage.FINALIZE,
    revision=1,
    requested_by="ops@desk",
    reason="",
    created_at=AT,
    stage_since=AT,
)
SLOT = Slot(
    color=Color.GREEN,
    state=SlotState.READY,
    version="v1.1.0",
    onnx_sha256="ab" * 32,
    endpoint="http://127.0.0.1:8001",
    reason="",
    changed_at=AT,
    changed_by="controller",
    warm_until=AT + timedelta(hours=24),
)
STOPPING = replace(SLOT, state=SlotState.STOPPING, reason="kept warm long enough")
PASSED = StageRecord(
    Stage.SHADOW, Outcome.PASS, "as good", 8.25, {"pairs": 800, "ratio": 0.5, "by": {"BTCUSDT": [1, 2]}}
)


def route(instrument: str = BTC, color: Color = Color.GREEN, green_until: datetime | None = None) -> Route:
    return Route(instrument, color, color.other, 0, green_until, changed_at=AT, changed_by="controller")


def planned(records: DeploymentRecords, number: int, at: datetime = AT) -> Rollout:
    """A rollout beside what is live now."""
    live = records.live()
    color, version = (live.candidate.other, live.version) if live else (Color.GREEN, None)
    return replace(ROLLOUT, id=f"r{number}", candidate=color, previous_version=version, created_at=at)


def event(key: str, at: datetime = AT) -> Event:
    return Event(key, EventType.DEPLOYMENT, "info", f"it is told: {key}", "controller", at)


def pair(number: int) -> Pair:
    return Pair(
        request_id=f"q{number}",
        instrument=BTC,
        ts=AT + timedelta(minutes=number),
        replayed=bool(number % 2),
        stable_status=None if number % 3 else 200,
        candidate_status=200,
        stable_seconds=None if number % 3 else 0.001,
        candidate_seconds=0.1 + 0.2,
        stable_score=None if number % 3 else -0.25,
        candidate_score=1 / 3,
        parity_difference=None if number % 2 else 1e-9,
    )


@dataclass
class Subject:
    records: DeploymentRecords
    events: EventLog
    of_strategy: Callable[[str], DeploymentRecords]

    def keys(self) -> list[str]:
        return [event.key for event in reversed(self.events.recent(type=EventType.DEPLOYMENT))]

    def epochs(self) -> dict[str, int]:
        return {route.instrument: route.epoch for route in self.records.routes()}


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    if request.param == "memory":
        records = InMemoryDeploymentRecords(STRATEGY)
        return Subject(records, records.events, lambda id_: InMemoryDeploymentRecords(id_, records.events))
    engine = open_database(fresh_database(request.param, tmp_path))
    return Subject(
        SqlDeploymentRecords(engine, STRATEGY),
        SqlEventLog(engine),
        lambda strategy_id: SqlDeploymentRecords(engine, strategy_id),
    )


@pytest.fixture
def records(subject: Subject) -> DeploymentRecords:
    return subject.records


# ------------------------------------------------------------------------------- beginning


def test_at_first_there_is_nothing(records: DeploymentRecords) -> None:
    assert isinstance(records, DeploymentRecords)
    assert (records.active(), records.recent(), records.routes(), records.slots()) == (None, [], [], {})
    assert (records.stages("r1"), records.pairs("r1"), records.heartbeat("controller")) == ([], [], None)
    with pytest.raises(NotFound, match="'r1'"):
        records.find("r1")


def test_a_rollout_comes_back_as_it_was_begun(subject: Subject) -> None:
    begun = subject.records.begin(replace(ROLLOUT, revision=7), event("begun"))
    assert begun == ROLLOUT
    assert subject.records.find("r1") == subject.records.active() == ROLLOUT
    assert subject.records.recent() == [ROLLOUT]
    assert subject.keys() == ["begun@r1/1"]


def test_a_second_rollout_is_refused_and_told_who_is_in_the_way(subject: Subject) -> None:
    subject.records.begin(ROLLOUT, event("begun"))
    with pytest.raises(
        Refused, match=r"v1\.1\.0 on green at pre_deploy_checks .*ops@desk at 2024-03-01 12:00"
    ):
        subject.records.begin(replace(ROLLOUT, id="r2", version="v1.2.0"), event("second"))
    assert subject.records.recent() == [ROLLOUT]
    assert subject.keys() == ["begun@r1/1"]


def test_beginning_again_after_a_lost_answer_changes_nothing(subject: Subject) -> None:
    subject.records.begin(ROLLOUT, event("begun"))
    changed = subject.records.change(ROLLOUT, replace(ROLLOUT, goal=Stage.CANARY), event("goal"))
    assert subject.records.begin(ROLLOUT, event("begun")) == changed
    assert subject.keys() == ["begun@r1/1", "goal@r1/2"]


def test_of_rollouts_that_begin_at_once_one_does(subject: Subject) -> None:
    def begin(number: int) -> bool:
        try:
            subject.records.begin(replace(ROLLOUT, id=f"r{number}"), event(f"r{number}"))
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(begin, range(8))) == 1
    assert len(subject.records.recent()) == len(subject.keys()) == 1


def test_a_rollout_does_not_begin_in_the_middle(records: DeploymentRecords) -> None:
    with pytest.raises(Refused, match="was completed"):
        records.begin(replace(ROLLOUT, state=RolloutState.COMPLETED), event("begun"))
    with pytest.raises(ValueError, match="another-strategy"):
        records.begin(replace(ROLLOUT, strategy_id="another-strategy"), event("begun"))
    assert records.recent() == []


def test_a_rollout_that_was_planned_on_what_is_live_no_more_does_not_begin(
    records: DeploymentRecords,
) -> None:
    stale = planned(records, 2)
    begun = records.begin(planned(records, 1), event("r1"))
    records.change(begun, replace(begun, state=RolloutState.COMPLETED, ended_at=AT), event("ended"))
    for wrong in (stale, replace(planned(records, 2), candidate=begun.candidate)):
        with pytest.raises(Refused, match="somebody switched meanwhile"):
            records.begin(wrong, event("r2"))
    assert records.active() is None
    assert records.begin(planned(records, 2), event("r2")).previous_version == begun.version


def test_when_one_is_over_the_next_may_begin_and_the_newest_comes_first(records: DeploymentRecords) -> None:
    for number in range(3):  # and a clock that was set back changes no order
        begun = records.begin(planned(records, number, MINUTES[5 - number]), event(f"r{number}"))
        over = replace(begun, state=RolloutState.COMPLETED, ended_at=MINUTES[5])
        records.change(begun, over, event(f"r{number} ended"))
    assert records.active() is None
    assert [rollout.id for rollout in records.recent(limit=2)] == ["r2", "r1"]


def test_what_is_live_is_what_was_completed_last(records: DeploymentRecords) -> None:
    way_back = [RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK]
    assert records.live() is None
    for number, way in enumerate([[RolloutState.COMPLETED], [RolloutState.COMPLETED], way_back]):
        stands = records.begin(planned(records, number, MINUTES[number]), event(f"r{number}"))
        for state in way:
            over = records.change(
                stands, replace(stands, state=state, ended_at=MINUTES[number]), event(state)
            )
            assert over is not None
            stands = over
    live = records.live()
    assert live is not None
    assert live.id == "r1"


def test_strategies_do_not_see_each_other(subject: Subject) -> None:
    other = subject.of_strategy("another-strategy")
    subject.records.begin(ROLLOUT, event("begun"))
    subject.records.change(ROLLOUT, ROLLOUT, event("routed"), routes=[route()], slots=[SLOT])
    subject.records.beat("controller", AT)
    assert (other.active(), other.recent(), other.routes(), other.slots()) == (None, [], [], {})
    assert other.heartbeat("controller") is None
    with pytest.raises(NotFound):
        other.find("r1")
    other.begin(replace(ROLLOUT, id="r2", strategy_id="another-strategy"), event("begun elsewhere"))
    assert [rollout.id for rollout in subject.records.recent()] == ["r1"]


# -------------------------------------------------------------------------------- changing


def test_a_change_comes_with_its_routes_slots_stage_and_event(subject: Subject) -> None:
    records = subject.records
    begun = records.begin(ROLLOUT, event("begun"))
    new = replace(
        begun,
        stage=Stage.CANARY,
        goal=Stage.FULL,
        stage_outcome=Outcome.INCONCLUSIVE,
        state=RolloutState.PAUSED,
        reason="too few",
        stage_since=MINUTES[1],
        stage_ended=MINUTES[2],
        is_faulty=True,
    )
    given = [route(ETH, green_until=MINUTES[3]), route(BTC)]
    changed = records.change(begun, new, event("canary"), routes=given, slots=[SLOT], ended=PASSED)
    assert changed == replace(new, revision=2) == records.find("r1") == records.active()
    assert records.routes() == [
        replace(given[1], epoch=1, rollout_id="r1"),
        replace(given[0], epoch=1, rollout_id="r1"),
    ]
    assert records.slots() == {Color.GREEN: SLOT}
    assert records.stages("r1") == [PASSED]
    assert subject.keys() == ["begun@r1/1", "canary@r1/2"]


def test_a_change_of_what_somebody_else_changed_changes_nothing(subject: Subject) -> None:
    records = subject.records
    begun = records.begin(ROLLOUT, event("begun"))
    first = records.change(begun, replace(begun, goal=Stage.SHADOW), event("first"))
    late = records.change(
        begun,
        replace(begun, state=RolloutState.COMPLETED, ended_at=AT),
        event("late"),
        routes=[route()],
        slots=[SLOT],
        ended=PASSED,
    )
    assert late is None
    assert records.find("r1") == first
    assert (records.routes(), records.slots(), records.stages("r1")) == ([], {}, [])
    assert subject.keys() == ["begun@r1/1", "first@r1/2"]


def test_of_changes_that_are_made_at_once_one_is(subject: Subject) -> None:
    begun = subject.records.begin(ROLLOUT, event("begun"))

    def change(number: int) -> bool:
        new = replace(begun, reason=str(number))
        return subject.records.change(begun, new, event("change"), routes=[route()]) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(change, range(8))) == 1
    assert subject.epochs() == {BTC: 1}
    assert subject.keys() == ["begun@r1/1", "change@r1/2"]


def test_the_epoch_grows_with_every_change_whatever_it_says(subject: Subject) -> None:
    stands: Rollout | None = subject.records.begin(ROLLOUT, event("begun"))
    for color in (Color.GREEN, Color.BLUE, Color.BLUE):
        assert stands is not None
        given = replace(route(color=color), epoch=99)
        stands = subject.records.change(stands, stands, event("again"), routes=[given])
    assert subject.epochs() == {BTC: 3}
    assert subject.keys() == ["begun@r1/1", "again@r1/2", "again@r1/3", "again@r1/4"]


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (RolloutState.PAUSED, RolloutState.COMPLETED),
        (RolloutState.ROLLING_BACK, RolloutState.WORKING),
        (RolloutState.ROLLED_BACK, RolloutState.WORKING),
        (RolloutState.COMPLETED, RolloutState.ROLLING_BACK),
        (RolloutState.WORKING, RolloutState.ROLLED_BACK),
    ],
)
def test_a_transition_that_there_is_not_is_refused(
    subject: Subject, state: RolloutState, wanted: RolloutState
) -> None:
    stands = subject.records.begin(ROLLOUT, event("begun"))
    way = {
        RolloutState.WORKING: [],
        RolloutState.ROLLED_BACK: [RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK],
    }
    for step in way.get(state, [state]):
        changed = subject.records.change(stands, replace(stands, state=step), event(step))
        assert changed is not None
        stands = changed
    before = (subject.records.find("r1"), subject.keys())
    with pytest.raises(Refused, match=f"was {wanted}"):
        subject.records.change(stands, replace(stands, state=wanted), event("no"), routes=[route()])
    assert (subject.records.find("r1"), subject.keys()) == before
    assert subject.records.routes() == []


def test_a_rollout_does_not_turn_into_another(records: DeploymentRecords) -> None:
    begun = records.begin(ROLLOUT, event("begun"))
    with pytest.raises(ValueError, match="candidate"):
        records.change(begun, replace(begun, candidate=Color.BLUE), event("no"))
    assert records.find("r1") == begun


def test_a_state_that_was_never_recorded_is_not_changed(records: DeploymentRecords) -> None:
    begun = records.begin(ROLLOUT, event("begun"))
    imagined = replace(begun, state=RolloutState.ROLLING_BACK)
    assert records.change(imagined, replace(begun, state=RolloutState.ROLLED_BACK), event("no")) is None
    with pytest.raises(NotFound):
        records.change(replace(begun, id="r9"), replace(begun, id="r9"), event("no"))


def test_a_stage_may_end_twice_and_both_are_kept_in_order(records: DeploymentRecords) -> None:
    stands: Rollout | None = records.begin(ROLLOUT, event("begun"))
    ends = [replace(PASSED, outcome=Outcome.INCONCLUSIVE), PASSED, replace(PASSED, stage=Stage.CANARY)]
    for end in ends:
        assert stands is not None
        stands = records.change(stands, stands, event("ended"), ended=end)
    assert records.stages("r1") == ends


# --------------------------------------------------------------------------------- routing


def test_the_routing_of_an_instrument_is_its_route_and_where_the_colours_answer(
    records: DeploymentRecords,
) -> None:
    begun = records.begin(ROLLOUT, event("begun"))
    assert records.routing(BTC) is None
    given = [route(BTC, green_until=MINUTES[3]), route(ETH)]
    bare = replace(SLOT, color=Color.BLUE, endpoint=None)
    records.change(begun, begun, event("routed"), routes=given, slots=[SLOT, bare])
    routed = replace(given[0], epoch=1, rollout_id="r1")
    assert records.routing(BTC) == Routing(routed, {Color.GREEN: SLOT.endpoint}, None)
    records.set_slot(replace(bare, endpoint="http://127.0.0.1:8000"))
    found = records.routing(ETH)
    assert found is not None
    assert found.route == replace(given[1], epoch=1, rollout_id="r1")
    assert found.endpoints == {Color.GREEN: SLOT.endpoint, Color.BLUE: "http://127.0.0.1:8000"}
    assert records.routing("binance:BNBUSDT") is None


@pytest.mark.parametrize("stage", [Stage.INTEGRATION_TESTS, Stage.SHADOW, Stage.FULL, Stage.FINALIZE])
@pytest.mark.parametrize("state", list(RolloutState))
def test_requests_are_paired_in_watched_stages_until_traffic_goes_back(
    records: DeploymentRecords, stage: Stage, state: RolloutState
) -> None:
    records.set_slot(SLOT)
    stands = records.begin(replace(ROLLOUT, stage=stage), event("begun"))
    way = {RolloutState.ROLLED_BACK: [RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK]}
    for number, step in enumerate(way.get(state, [state])):
        ended = AT if step.is_over else None
        routes = [route()] if number == 0 else []
        changed = records.change(
            stands, replace(stands, state=step, ended_at=ended), event(step), routes=routes
        )
        assert changed is not None
        stands = changed
    found = records.routing(BTC)
    assert found is not None
    is_paired = stage.is_watched and state in (RolloutState.WORKING, RolloutState.PAUSED)
    assert found.watched == (Watched("r1", Color.GREEN) if is_paired else None)


def test_routing_is_of_one_instant_whatever_is_changed_meanwhile(subject: Subject) -> None:
    """Owner and endpoints are changed together; nobody ever sees one without the other."""
    stands = subject.records.begin(ROLLOUT, event("begun"))

    def world(color: Color) -> tuple[list[Route], list[Slot]]:
        slots = [replace(SLOT, color=c, endpoint=f"http://{color}") for c in Color]
        return [route(color=color)], slots

    def change() -> None:
        seen = stands
        for number in range(60):
            routes, slots = world(list(Color)[number % 2])
            changed = subject.records.change(seen, seen, event("turn"), routes=routes, slots=slots)
            assert changed is not None
            seen = changed

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        while not changing.done():
            found = subject.records.routing(BTC)
            if found is not None:
                assert set(found.endpoints.values()) == {f"http://{found.route.color}"}
        changing.result()


# ----------------------------------------------------------------------------------- slots


def test_a_slot_is_replaced(records: DeploymentRecords) -> None:
    blue = replace(SLOT, color=Color.BLUE)
    bare = Slot(Color.GREEN, SlotState.EMPTY, None, None, None, "gone", MINUTES[1], "controller")
    for slot in (SLOT, blue, bare):
        records.set_slot(slot)
    assert records.slots() == {Color.GREEN: bare, Color.BLUE: blue}


def test_a_slot_that_somebody_else_changed_is_left(records: DeploymentRecords) -> None:
    assert not records.replace_slot(SLOT, STOPPING)
    records.set_slot(SLOT)
    for color in Color:
        assert not records.replace_slot(replace(SLOT, color=color, warm_until=None), STOPPING)
    assert records.slots() == {Color.GREEN: SLOT}
    assert records.replace_slot(SLOT, STOPPING)
    assert not records.replace_slot(SLOT, STOPPING)
    assert records.slots() == {Color.GREEN: STOPPING}


def test_of_changes_of_a_slot_that_are_made_at_once_one_is(records: DeploymentRecords) -> None:
    records.set_slot(SLOT)

    def replaced(number: int) -> bool:
        return records.replace_slot(SLOT, replace(SLOT, reason=str(number)))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(replaced, range(8))) == 1


def test_a_colour_is_idle_while_no_route_names_it_and_no_rollout_is_under_way(
    records: DeploymentRecords,
) -> None:
    records.set_slot(SLOT)
    stands: Rollout | None = records.begin(ROLLOUT, event("begun"))
    assert not records.replace_slot(SLOT, STOPPING, idle=True)
    named = [route(BTC, Color.GREEN), route(BTC, Color.BLUE)]  # as owner, and as fallback
    for given in named:
        assert stands is not None
        stands = records.change(stands, stands, event("routed"), routes=[given])
        assert not records.replace_slot(SLOT, STOPPING, idle=True)
    assert stands is not None
    over = replace(stands, state=RolloutState.COMPLETED, ended_at=AT)
    records.change(stands, over, event("ended"))
    assert not records.replace_slot(SLOT, STOPPING, idle=True)
    begun = records.begin(planned(records, 2), event("begun"))
    alone = replace(route(BTC, Color.BLUE), fallback=None)
    over = replace(begun, state=RolloutState.COMPLETED, ended_at=AT)
    records.change(begun, over, event("ended"), routes=[alone])
    assert records.replace_slot(SLOT, STOPPING, idle=True)
    assert records.slots() == {Color.GREEN: STOPPING}


def test_a_change_that_was_planned_on_other_slots_changes_nothing(subject: Subject) -> None:
    records = subject.records
    records.set_slot(STOPPING)
    begun = records.begin(ROLLOUT, event("begun"))
    over = replace(begun, state=RolloutState.COMPLETED, ended_at=AT)

    def complete(seen: Slot) -> Rollout | None:
        kept = replace(seen, warm_until=None)
        return records.change(begun, over, event("ended"), routes=[route()], slots=[kept], seen_slots=[seen])

    for seen in (SLOT, replace(STOPPING, color=Color.BLUE)):
        assert complete(seen) is None
    assert (records.active(), records.routes(), records.slots()) == (begun, [], {Color.GREEN: STOPPING})
    assert subject.keys() == ["begun@r1/1"]
    records.set_slot(SLOT)
    assert complete(SLOT) is not None
    assert records.slots() == {Color.GREEN: replace(SLOT, warm_until=None)}


@pytest.mark.parametrize(
    "slot", [None, STOPPING, replace(SLOT, version="v1.0.0"), replace(SLOT, color=Color.BLUE)]
)
def test_a_rollout_that_begins_at_its_end_needs_a_candidate_that_is_ready(
    records: DeploymentRecords, slot: Slot | None
) -> None:
    at_its_end = replace(ROLLOUT, stage=Stage.FINALIZE)
    if slot is not None:
        records.set_slot(slot)
    with pytest.raises(Refused, match=r"expected v1\.1\.0 ready in green, was "):
        records.begin(at_its_end, event("begun"))
    assert records.recent() == []
    records.set_slot(SLOT)
    assert records.begin(at_its_end, event("begun")) == records.active()


# ----------------------------------------------------------------------------- supervision


def supervised(records: DeploymentRecords, **green_until: datetime | None) -> Rollout:
    begun = records.begin(ROLLOUT, event("begun"))
    routes = [route(f"binance:{symbol}", green_until=until) for symbol, until in green_until.items()]
    changed = records.change(begun, begun, event("routed"), routes=routes)
    assert changed is not None
    return changed


def test_renewal_extends_supervision_and_leaves_the_epoch(subject: Subject) -> None:
    supervised(subject.records, BTCUSDT=MINUTES[3], ETHUSDT=MINUTES[4], BNBUSDT=None)
    assert subject.records.renew("r1", until=MINUTES[6], now=MINUTES[2])
    assert [r.green_until for r in subject.records.routes()] == [None, MINUTES[6], MINUTES[6]]
    assert set(subject.epochs().values()) == {1}
    assert subject.records.find("r1").revision == 2


def test_supervision_that_lapsed_for_one_is_renewed_for_none(records: DeploymentRecords) -> None:
    supervised(records, BTCUSDT=MINUTES[3], ETHUSDT=MINUTES[5])
    assert not records.renew("r1", until=MINUTES[9], now=MINUTES[3])
    assert [r.green_until for r in records.routes()] == [MINUTES[3], MINUTES[5]]
    assert [r.owner(MINUTES[3]) for r in records.routes()] == [Color.BLUE, Color.GREEN]


def test_a_rollout_renews_only_its_own_supervision(records: DeploymentRecords) -> None:
    stands = supervised(records, BTCUSDT=MINUTES[1])
    back = records.change(stands, replace(stands, state=RolloutState.ROLLING_BACK), event("back"))
    assert back is not None
    records.change(back, replace(back, state=RolloutState.ROLLED_BACK, ended_at=AT), event("gone"))
    assert not records.renew("r1", until=MINUTES[9], now=AT)
    second = records.begin(replace(ROLLOUT, id="r2"), event("second"))
    records.change(second, second, event("routed"), routes=[route(ETH, green_until=MINUTES[4])])
    assert records.renew("r2", until=MINUTES[6], now=MINUTES[2])
    assert [r.green_until for r in records.routes()] == [MINUTES[1], MINUTES[6]]


def test_renewing_what_is_not_there_is_an_error(records: DeploymentRecords) -> None:
    with pytest.raises(NotFound):
        records.renew("r1", until=MINUTES[2], now=AT)


# ----------------------------------------------------------------------------------- pairs


def test_pairs_come_back_in_order_of_arrival_and_in_parts(records: DeploymentRecords) -> None:
    records.begin(ROLLOUT, event("begun"))
    records.add_pairs("r1", [])
    for part in (range(3), range(3, 7)):
        records.add_pairs("r1", [pair(number) for number in part])
    numbers = [number for number, _ in records.pairs("r1")]
    assert numbers == sorted(set(numbers))
    assert [p for _, p in records.pairs("r1")] == [pair(number) for number in range(7)]
    assert records.pairs("r1", after=numbers[2], limit=2) == records.pairs("r1")[3:5]
    assert records.pairs("r1", after=numbers[-1]) == []


def test_a_pair_that_is_there_already_is_left(records: DeploymentRecords) -> None:
    records.begin(ROLLOUT, event("begun"))
    records.add_pairs("r1", [pair(1)])
    again = replace(pair(1), candidate_status=500)
    records.add_pairs("r1", [again, pair(2), again])
    assert [p for _, p in records.pairs("r1")] == [pair(1), pair(2)]


def test_pairs_of_no_rollout_are_an_error(records: DeploymentRecords) -> None:
    with pytest.raises(NotFound):
        records.add_pairs("r1", [pair(1)])


def test_a_reader_that_goes_on_misses_no_pair_of_writers_at_once(records: DeploymentRecords) -> None:
    records.begin(ROLLOUT, event("begun"))

    def write(writer: int) -> None:
        for number in range(writer, 80, 4):
            records.add_pairs("r1", [pair(number)])

    seen: list[str] = []
    after = 0
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, writer) for writer in range(4)]
        done = False
        while not done:
            done = all(writer.done() for writer in writing)
            for number, arrived in records.pairs("r1", after=after):
                after = number
                seen.append(arrived.request_id)
    assert sorted(seen) == sorted(f"q{number}" for number in range(80))


def test_pairs_of_rollouts_that_ended_long_ago_are_forgotten(records: DeploymentRecords) -> None:
    for number in range(3):
        begun = records.begin(planned(records, number), event(f"r{number}"))
        records.add_pairs(begun.id, [pair(1), pair(2)])
        if number < 2:
            over = replace(begun, state=RolloutState.COMPLETED, ended_at=MINUTES[number])
            records.change(begun, over, event("ended"))
    assert records.forget_pairs(MINUTES[1]) == 2
    assert [len(records.pairs(f"r{number}")) for number in range(3)] == [0, 2, 2]
    assert records.forget_pairs(MINUTES[9]) == 2
    assert len(records.pairs("r2")) == 2  # under way


# ------------------------------------------------------------------------------ heartbeats


def test_a_heartbeat_is_the_last_one(records: DeploymentRecords) -> None:
    records.beat("controller", AT, {"rollout": "r1", "lag": float("nan")})
    records.beat("replay", AT)
    records.beat("controller", MINUTES[1], {"pid": 7})
    assert records.heartbeat("controller") == (MINUTES[1], {"pid": 7})
    assert records.heartbeat("replay") == (AT, {})
