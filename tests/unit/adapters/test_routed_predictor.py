"""Who is asked, whose answer is acted on, and what is recorded of the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters import routed_predictor
from autotrader.adapters.pairs import PairRecorder, pair_of
from autotrader.adapters.prediction_client import Answer, PredictionClient
from autotrader.adapters.routed_predictor import RoutedPredictor
from autotrader.domain.errors import Refused, Rejected, Throttled, Unreachable
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.ports.deployment import Pair, Rollout, Route, Routing, Slot, SlotState
from autotrader.ports.events import Event, EventType
from autotrader.ports.predictions import PredictionRequest, Predictor
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.fakes.deployment_server import serve

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
BTC = "binance:BTCUSDT"
REQUEST = PredictionRequest("q1", BTC, "balanced-v1", (AT,), ((0.5,),))
EVENT = Event("told", EventType.DEPLOYMENT, "info", "told", "test", AT)


@dataclass
class Clock:
    at: datetime = AT

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


class Records(InMemoryDeploymentRecords):
    """Runs something once, after so many readings of the routing."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0
        self.reachable = True
        self.meanwhile: dict[int, Any] = {}

    def routing(self, instrument: str) -> Routing | None:
        self.readings += 1
        found = super().routing(instrument)
        self.meanwhile.pop(self.readings, lambda: None)()
        return found

    def add_pairs(self, rollout_id: str, pairs: Sequence[Pair]) -> None:
        if not self.reachable:
            raise Unreachable("expected the database to answer, was switched off")
        super().add_pairs(rollout_id, pairs)


@dataclass
class World:
    records: Records
    client: PredictionClient
    folder: Path
    stack: contextlib.AsyncExitStack
    clock: Clock = field(default_factory=Clock)

    async def serve(self, color: Color, **behaviour: Any) -> None:
        server = serve(color.value, self.folder / color, f"{color}'s", **behaviour)
        endpoint = await self.stack.enter_async_context(server)
        slot = Slot(color, SlotState.READY, f"{color}'s", None, endpoint, "", AT, "test")
        self.records.set_slot(slot)

    def own(self, color: Color, green_until: datetime | None = None, fallback: Color | None = None) -> None:
        route = Route(BTC, color, fallback, 0, green_until, AT, "test")
        """The first time blue's version becomes live; who owns the route is a matter of its own."""
        ways = [RolloutState.COMPLETED]
        if self.records.live() is not None:
            ways = [RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK]
        begun = self._begin(f"owner-{len(self.records.recent(1000))}", Stage.PRE_DEPLOY_CHECKS)
        for number, state in enumerate(ways):
            routes = [] if number else [route]
            to = replace(begun, state=state, ended_at=AT if state.is_over else None)
            changed = self.records.change(begun, to, EVENT, routes=routes)
            assert changed is not None
            begun = changed

    def roll_out(self, stage: Stage = Stage.SHADOW, state: RolloutState = RolloutState.WORKING) -> None:
        begun = self._begin("r1", stage)
        self.records.change(begun, replace(begun, state=state), EVENT)

    def _begin(self, rollout_id: str, stage: Stage) -> Rollout:
        is_first = self.records.live() is None
        rollout = Rollout(
            id=rollout_id,
            strategy_id="autotrader-strategy",
            version="blue's" if is_first else "green's",
            previous_version=None if is_first else "blue's",
            candidate=Color.BLUE if is_first else Color.GREEN,
            profile="fast",
            state=RolloutState.WORKING,
            stage=stage,
            stage_outcome=None,
            goal=Stage.FINALIZE,
            revision=1,
            requested_by="test",
            reason="",
            created_at=AT,
            stage_since=AT,
        )
        return self.records.begin(rollout, EVENT)

    @contextlib.asynccontextmanager
    async def predictor(self) -> AsyncIterator[RoutedPredictor]:
        async with RoutedPredictor(self.records, self.client, self.clock) as predictor:
            yield predictor

    def pairs(self) -> list[Pair]:
        return [pair for _, pair in self.records.pairs("r1")]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(routed_predictor, "FIRST_PAUSE_SECONDS", 0.001)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(PredictionClient(None, timeout_seconds=60.0))
        yield World(Records(), client, tmp_path, stack)


async def test_the_owner_answers_by_its_name_and_in_its_epoch(world: World) -> None:
    await world.serve(Color.BLUE)
    await world.serve(Color.GREEN)
    async with world.predictor() as predictor:
        assert isinstance(predictor, Predictor)
        for color, epoch in [(Color.BLUE, 1), (Color.GREEN, 2)]:
            world.own(color)
            prediction = await predictor.predict(REQUEST)
            assert (prediction.color, prediction.version, prediction.epoch) == (color, f"{color}'s", epoch)
            assert prediction.scores == (-0.25,)


async def test_the_routing_is_read_once_before_a_request_and_once_after_it(world: World) -> None:
    await world.serve(Color.BLUE)
    await world.serve(Color.GREEN)
    world.own(Color.BLUE)
    world.roll_out()
    async with world.predictor() as predictor:
        await predictor.predict(REQUEST)
    assert world.records.readings == 2


async def test_of_an_instrument_that_nobody_owns_there_is_no_prediction(world: World) -> None:
    await world.serve(Color.BLUE)
    async with world.predictor() as predictor:
        with pytest.raises(Refused, match="nobody answers for binance:BTCUSDT"):
            await predictor.predict(REQUEST)
        world.own(Color.BLUE, green_until=AT)
        with pytest.raises(Refused, match="nobody answers"):
            await predictor.predict(REQUEST)


async def test_supervision_that_lapsed_sends_callers_back(world: World) -> None:
    await world.serve(Color.BLUE)
    await world.serve(Color.GREEN)
    world.own(Color.GREEN, green_until=AT + timedelta(seconds=180), fallback=Color.BLUE)
    async with world.predictor() as predictor:
        assert (await predictor.predict(REQUEST)).color is Color.GREEN
        world.clock.at = AT + timedelta(seconds=180)
        assert (await predictor.predict(REQUEST)).color is Color.BLUE


async def test_an_answer_of_an_older_epoch_is_discarded_and_the_new_owner_asked(world: World) -> None:
    await world.serve(Color.BLUE)
    await world.serve(Color.GREEN)
    world.own(Color.BLUE)
    world.records.meanwhile[1] = lambda: world.own(Color.GREEN)
    async with world.predictor() as predictor:
        prediction = await predictor.predict(REQUEST)
    assert (prediction.color, prediction.epoch) == (Color.GREEN, 2)


async def test_an_answer_is_discarded_even_if_its_colour_owns_the_instrument_again(world: World) -> None:
    await world.serve(Color.BLUE)
    world.own(Color.BLUE)

    def there_and_back() -> None:
        world.own(Color.GREEN)
        world.own(Color.BLUE)

    world.records.meanwhile[1] = there_and_back
    async with world.predictor() as predictor:
        prediction = await predictor.predict(REQUEST)
    assert (prediction.color, prediction.epoch) == (Color.BLUE, 3)


async def test_an_answer_is_discarded_if_supervision_lapsed_while_it_was_on_its_way(world: World) -> None:
    await world.serve(Color.BLUE)
    await world.serve(Color.GREEN)
    world.own(Color.GREEN, green_until=AT + timedelta(seconds=1), fallback=Color.BLUE)

    def lapse() -> None:
        world.clock.at = AT + timedelta(seconds=1)

    world.records.meanwhile[2] = lapse  # the reading after the answer
    async with world.predictor() as predictor:
        assert (await predictor.predict(REQUEST)).color is Color.BLUE


async def test_an_answer_is_discarded_if_by_then_nobody_is_to_answer(world: World) -> None:
    await world.serve(Color.GREEN)
    world.own(Color.GREEN, green_until=AT + timedelta(seconds=1))

    def lapse() -> None:
        world.clock.at = AT + timedelta(seconds=1)

    world.records.meanwhile[2] = lapse
    async with world.predictor() as predictor:
        with pytest.raises(Refused, match="nobody answers"):
            await predictor.predict(REQUEST)
    assert world.records.readings == 2


async def test_routes_that_never_rest_end_in_an_error_not_in_an_old_answer(world: World) -> None:
    await world.serve(Color.BLUE)
    world.own(Color.BLUE)

    def switch_again() -> None:
        world.own(Color.BLUE)
        world.clock.at += timedelta(seconds=1)
        world.records.meanwhile[world.records.readings + 1] = switch_again

    world.records.meanwhile[1] = switch_again
    async with world.predictor() as predictor:
        with pytest.raises(Unreachable, match="5 s of changing routes"):
            await predictor.predict(REQUEST)


async def test_an_owner_that_recovers_in_time_is_asked_again(world: World) -> None:
    await world.serve(Color.BLUE)
    slots = world.records.slots()
    world.records.set_slot(replace(slots[Color.BLUE], endpoint=None))
    world.own(Color.BLUE)
    world.records.meanwhile[4] = lambda: world.records.set_slot(slots[Color.BLUE])
    async with world.predictor() as predictor:
        assert (await predictor.predict(REQUEST)).color is Color.BLUE


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ({"status": 422}, Rejected),
        ({"status": 500}, Unreachable),
        ({"status": 503}, Throttled),
        ({"garbage": "nonsense"}, Unreachable),
    ],
)
async def test_an_owner_that_gives_no_prediction_is_an_error(
    world: World, behaviour: dict[str, Any], error: type[Exception]
) -> None:
    await world.serve(Color.BLUE, **behaviour)
    world.own(Color.BLUE)
    async with world.predictor() as predictor:
        with pytest.raises(error) as raised:
            await predictor.predict(REQUEST)
    assert type(raised.value) is error


# ------------------------------------------------------------------------- the other colour


@pytest.mark.parametrize("owner", list(Color))
async def test_while_a_rollout_is_watched_both_are_asked_and_the_pair_is_recorded(
    world: World, owner: Color
) -> None:
    await world.serve(Color.BLUE)
    await world.serve(Color.GREEN)
    world.own(owner)
    world.roll_out()
    async with world.predictor() as predictor:
        prediction = await predictor.predict(REQUEST)
    assert prediction.color is owner
    (pair,) = world.pairs()
    assert (pair.request_id, pair.instrument, pair.ts, pair.replayed) == ("q1", BTC, AT, False)
    assert (pair.stable_status, pair.candidate_status) == (200, 200)
    assert (pair.stable_score, pair.candidate_score) == (-0.25, -0.25)


@pytest.mark.parametrize(
    ("stage", "state"),
    [
        (Stage.INTEGRATION_TESTS, RolloutState.WORKING),
        (Stage.CANARY, RolloutState.ROLLING_BACK),
        (Stage.FULL, RolloutState.COMPLETED),
    ],
)
async def test_otherwise_the_owner_is_asked_alone(world: World, stage: Stage, state: RolloutState) -> None:
    await world.serve(Color.BLUE)
    await world.serve(Color.GREEN)
    world.own(Color.BLUE)
    world.roll_out(stage, state)
    async with world.predictor() as predictor:
        await predictor.predict(REQUEST)
    assert world.pairs() == []


@pytest.mark.parametrize("fault", [{"delay_seconds": 60}, {"status": 500}, {"garbage": "?"}, None])
async def test_whatever_the_other_colour_does_the_owners_answer_is_neither_delayed_nor_failed(
    world: World, fault: dict[str, Any] | None
) -> None:
    await world.serve(Color.BLUE)
    await world.serve(Color.GREEN, **(fault or {}))
    if fault is None:
        dead = replace(world.records.slots()[Color.GREEN], endpoint="http://127.0.0.1:1")
        world.records.set_slot(dead)
    world.own(Color.BLUE)
    world.roll_out()
    world.client = await world.stack.enter_async_context(PredictionClient(None, timeout_seconds=2.0))
    async with world.predictor() as predictor:
        async with asyncio.timeout(30):  # less than to wait for the other each time
            for number in range(20):
                prediction = await predictor.predict(replace(REQUEST, request_id=f"q{number}"))
                assert prediction.color is Color.BLUE
    pairs = world.pairs()
    assert len(pairs) == 20
    assert {pair.stable_status for pair in pairs} == {200}
    assert {pair.candidate_status for pair in pairs} == ({500} if fault == {"status": 500} else {0})


async def test_a_caller_that_gives_up_does_not_take_the_pair_with_it(world: World) -> None:
    await world.serve(Color.BLUE, delay_seconds=0.2)
    await world.serve(Color.GREEN)
    world.own(Color.BLUE)
    world.roll_out()
    async with world.predictor() as predictor:
        asking = asyncio.create_task(predictor.predict(REQUEST))
        while not predictor._beside:
            await asyncio.sleep(0.001)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert [pair.stable_status for pair in world.pairs()] == [200]


async def test_a_candidate_that_owns_where_nothing_was_live_is_recorded_alone(world: World) -> None:
    await world.serve(Color.GREEN)
    world.own(Color.GREEN)
    world.roll_out(Stage.CANARY)
    async with world.predictor() as predictor:
        await predictor.predict(REQUEST)
    assert [(p.stable_status, p.candidate_status) for p in world.pairs()] == [(None, 200)]


async def test_pairs_wait_while_the_database_does_not_answer(world: World) -> None:
    world.roll_out()
    pair = pair_of(REQUEST, stable=None, candidate=Answer(200, 0.001))
    async with PairRecorder(world.records) as recorder:
        world.records.reachable = False
        recorder.add("r1", pair)
        with pytest.raises(Unreachable):
            await recorder.flush()
        assert world.pairs() == []
        world.records.reachable = True
        recorder.add("r1", replace(pair, request_id="q2"))
    assert [p.request_id for p in world.pairs()] == ["q1", "q2"]


async def test_under_break_glass_who_asks_the_candidate_acts_on_the_stable_colours_answer(
    world: World,
) -> None:
    """The rule for green leads to blue, whose service turns away who named green."""
    await world.serve(Color.BLUE)
    routed = world.records.slots()[Color.BLUE]
    world.records.set_slot(replace(routed, color=Color.GREEN, version="green's"))
    world.own(Color.GREEN, green_until=AT + timedelta(minutes=3), fallback=Color.BLUE)
    async with world.predictor() as predictor:
        prediction = await predictor.predict(REQUEST)
    assert (prediction.color, prediction.version, prediction.epoch) == (Color.BLUE, "blue's", 1)


async def test_a_candidate_never_answers_for_the_stable_colour(world: World) -> None:
    """The rule for blue leads to green: nobody may act on that."""
    await world.serve(Color.GREEN)
    routed = world.records.slots()[Color.GREEN]
    world.records.set_slot(replace(routed, color=Color.BLUE, version="blue's"))
    world.own(Color.BLUE)
    async with world.predictor() as predictor:
        with pytest.raises(Unreachable):
            await predictor.predict(REQUEST)


async def test_where_the_stable_colour_is_not_there_either_there_is_no_prediction(world: World) -> None:
    await world.serve(Color.GREEN)
    other = world.records.slots()[Color.GREEN]
    world.records.set_slot(replace(other, color=Color.BLUE))
    await world.serve(Color.GREEN)
    world.own(Color.BLUE, green_until=AT + timedelta(minutes=3), fallback=Color.BLUE)
    async with world.predictor() as predictor:
        with pytest.raises(Unreachable):
            await predictor.predict(REQUEST)
