"""While the work of a stage takes its time, the controller goes on; and nothing is left behind of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from autotrader.apps.controller import background
from autotrader.apps.controller.background import Background, BackgroundProjection
from autotrader.deployment import requests
from autotrader.deployment.controller import BEAT_SECONDS, COMPONENT, StageResult
from autotrader.deployment.projection import EVERY_SECONDS
from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.rollout import FAST, Color, Outcome, RolloutState, Stage
from autotrader.ports.deployment import Rollout
from autotrader.ports.registry import ModelStatus, ModelVersion
from tests.fakes.registry import InMemoryRegistry
from tests.unit.deployment.doubles import MODEL, PASSED, Deployment, ScriptedWork
from tests.unit.deployment.test_controller import begin as begin_rollout

BAD = StageResult(Outcome.FAIL, "expected abc, was def")
PATIENCE_SECONDS = 120.0


class HeldWork(ScriptedWork):
    """Scripted work that is held up where a test says so."""

    held: frozenset[Stage] = frozenset()
    threads: set[threading.Thread]
    begun: threading.Event
    go_on: threading.Event

    def pre_deploy_checks(self, rollout: Rollout) -> StageResult | None:
        return self._hold(Stage.PRE_DEPLOY_CHECKS) or super().pre_deploy_checks(rollout)

    def deploy(self, rollout: Rollout) -> StageResult | None:
        return self._hold(Stage.DEPLOY_GREEN) or super().deploy(rollout)

    def integration_tests(self, rollout: Rollout) -> StageResult | None:
        return self._hold(Stage.INTEGRATION_TESTS) or super().integration_tests(rollout)

    def _hold(self, stage: Stage) -> None:
        self.threads.add(threading.current_thread())
        if stage in self.held:
            self.begun.set()
            assert self.go_on.wait(PATIENCE_SECONDS)


class Scene(Deployment):
    """A deployment whose stages are worked at in the background."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.monkeypatch = monkeypatch
        self.wait_for_work(PATIENCE_SECONDS)
        self.held = HeldWork(self.records, self.target, self.clock)
        self.held.threads, self.held.begun, self.held.go_on = set(), threading.Event(), threading.Event()
        self.background = Background(self.held)
        self.work = self.background  # type: ignore[assignment]
        self.restart()

    def begin(self) -> Rollout:
        return requests.begin(
            self.records,
            strategy_id=MODEL,
            version=self.versions[0],
            profile=FAST,
            goal=Stage.FINALIZE,
            reason="test",
            actor="tester",
            now=self.clock.now(),
        )

    def wait_for_work(self, seconds: float) -> None:
        """How long a tick waits; long, where nothing is held up: a machine may be slow."""
        self.monkeypatch.setattr(background, "SOON_SECONDS", seconds)
        self.monkeypatch.setattr(background, "END_SECONDS", PATIENCE_SECONDS)

    def hold(self, stage: Stage) -> Rollout:
        """A rollout whose work in this stage is held up."""
        rollout = self.begin()
        self.hold_up(stage)
        return rollout

    def hold_up(self, stage: Stage) -> None:
        """Tick until the work of this stage is held up."""
        self.held.held = frozenset({stage})
        self.wait_for_work(0.1)
        while not self.held.begun.is_set():
            self.controller.tick()

    def release(self) -> None:
        self.held.go_on.set()
        self.wait_for_work(PATIENCE_SECONDS)
        self.background.end()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(monkeypatch)
    yield made
    made.release()


HELD = [Stage.PRE_DEPLOY_CHECKS, Stage.DEPLOY_GREEN, Stage.INTEGRATION_TESTS]


@pytest.mark.parametrize("stage", HELD)
def test_while_a_stage_is_worked_at_the_controller_ticks_and_says_that_it_lives(
    scene: Scene, stage: Stage
) -> None:
    rollout = scene.hold(stage)
    for _ in range(3):
        scene.clock.move(BEAT_SECONDS)
        began = time.monotonic()
        scene.controller.tick()
        assert time.monotonic() - began < PATIENCE_SECONDS / 2
        heard = scene.records.heartbeat(COMPONENT)
        assert heard is not None
        assert heard[0] == scene.clock.now()
    assert (scene.records.find(rollout.id).stage, scene.background.is_busy) == (stage, True)
    scene.release()
    scene.run()
    assert scene.records.find(rollout.id).state is RolloutState.COMPLETED
    assert threading.main_thread() not in scene.held.threads


def test_work_that_is_done_at_once_costs_no_tick(scene: Scene) -> None:
    rollout = scene.begin()
    scene.controller.tick()
    assert scene.records.find(rollout.id).stage_outcome is Outcome.PASS


def test_what_work_raises_is_the_stages_verdict(scene: Scene) -> None:
    scene.held.checks = BadData("expected a digest of abc, was def")
    rollout = scene.begin()
    scene.run()
    assert scene.records.find(rollout.id).reason == "expected a digest of abc, was def"


def test_work_that_could_not_reach_something_is_tried_again(scene: Scene) -> None:
    scene.held.checks = Unreachable("expected MLflow to answer, was silent")
    rollout = scene.begin()
    scene.run(ticks=3)
    scene.held.checks = PASSED
    scene.run()
    assert scene.records.find(rollout.id).state is RolloutState.COMPLETED


def test_a_fault_of_the_program_ends_the_controller(scene: Scene) -> None:
    scene.held.checks = ZeroDivisionError("a fault")
    scene.begin()
    with pytest.raises(ZeroDivisionError):
        scene.run(ticks=20)


@pytest.mark.parametrize("stage", HELD)
def test_a_rollout_that_is_taken_back_meanwhile_is_over_once_its_work_is_and_leaves_nothing_running(
    scene: Scene, stage: Stage
) -> None:
    rollout = scene.hold(stage)
    requests.take_back(scene.records, "looks odd", actor="anna", now=scene.clock.now)
    scene.run(ticks=3)
    assert scene.records.find(rollout.id).state is RolloutState.ROLLING_BACK
    scene.release()
    scene.run(ticks=3)
    over = scene.records.find(rollout.id)
    assert (over.state, over.reason) == (RolloutState.ROLLED_BACK, "looks odd")
    assert scene.target.running == {}
    assert all(slot.version is None for slot in scene.records.slots().values())


def test_what_came_of_work_that_nobody_asks_for_any_more_is_dropped(scene: Scene) -> None:
    scene.held.checks = BAD
    first = scene.hold(Stage.PRE_DEPLOY_CHECKS)
    second = replace(first, id="another")
    assert scene.background.pre_deploy_checks(second) is None  # one at a time
    scene.release()
    scene.held.checks = PASSED
    assert scene.background.pre_deploy_checks(second) is PASSED
    assert not scene.background.is_busy


def test_a_colour_that_died_is_started_again_meanwhile(scene: Scene) -> None:
    scene.begin()
    scene.run()
    next_one = requests.begin(
        scene.records,
        strategy_id=MODEL,
        version=scene.versions[1],
        profile=FAST,
        goal=Stage.FINALIZE,
        reason="test",
        actor="tester",
        now=scene.clock.now(),
    )
    scene.hold_up(Stage.PRE_DEPLOY_CHECKS)
    scene.target.running.clear()
    scene.clock.move(10)
    scene.controller.tick()
    assert scene.target.running == {Color.BLUE: scene.versions[0]}
    assert scene.records.find(next_one.id).stage is Stage.PRE_DEPLOY_CHECKS


class HangingRegistry(InMemoryRegistry):
    """Answers when a test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def get(self, name: str, version: str) -> ModelVersion:
        self.asked.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        return super().get(name, version)

    def hang(self) -> None:
        self.asked.clear()
        self.go_on.clear()


@dataclass
class Hanging:
    """The second version of a deployment at canary, whose registry hangs."""

    world: Deployment
    registry: HangingRegistry
    projection: BackgroundProjection

    def settle(self) -> None:
        """Tick until what is due was shown."""
        self.world.clock.move(EVERY_SECONDS)
        self.world.controller.tick()
        self.projection.end()
        self.world.controller.tick()


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    monkeypatch.setattr(background, "END_SECONDS", PATIENCE_SECONDS)
    registry = HangingRegistry()
    world = Deployment(registry=registry)
    made = Hanging(world, registry, BackgroundProjection(world.projection))
    world.projection = made.projection  # type: ignore[assignment]
    world.control()
    begin_rollout(world, world.versions[0])
    world.run()
    made.settle()
    rollout = begin_rollout(world, world.versions[1], goal=Stage.CANARY)
    while world.records.find(rollout.id).stage is not Stage.CANARY:
        world.controller.tick()
        world.clock.move(1)
    made.settle()
    registry.hang()
    world.clock.move(EVERY_SECONDS)
    world.controller.tick()
    assert registry.asked.wait(PATIENCE_SECONDS)
    yield made
    registry.go_on.set()
    made.projection.end()


def test_while_the_registry_hangs_the_controller_says_that_it_lives_and_looks(hanging: Hanging) -> None:
    world = hanging.world
    for _ in range(5):
        looks = world.watch.looks
        world.clock.move(BEAT_SECONDS)
        world.controller.tick()
        heard = world.records.heartbeat(COMPONENT)
        assert heard is not None
        assert (heard[0], world.watch.looks) == (world.clock.now(), looks + 1)


def test_while_the_registry_hangs_traffic_goes_back_and_the_registry_shows_it_later(
    hanging: Hanging,
) -> None:
    world = hanging.world
    world.watch.sees = BAD
    world.clock.move(BEAT_SECONDS)
    world.controller.tick()
    assert set(world.owners().values()) == {Color.BLUE}
    world.run(ticks=5)
    assert world.records.active() is None
    hanging.registry.go_on.set()
    hanging.projection.end()  # it read before traffic went back: what was asked for since is done after
    world.controller.tick()
    hanging.projection.end()
    assert hanging.registry.get(MODEL, world.versions[1]).status is ModelStatus.FAILED
    assert hanging.projection.pending == ()


def test_a_fault_of_the_program_while_it_converges_ends_the_controller(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, version: str) -> ModelVersion:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(hanging.registry, "get", fail)
    hanging.registry.go_on.set()
    with pytest.raises(ZeroDivisionError):
        hanging.settle()


def test_an_outage_that_takes_long_to_show_is_waited_for_only_so_long(scene: Scene) -> None:
    """While an attempt is under way, nobody knows of anything that was reached."""
    scene.held.checks = Unreachable("expected MLflow to answer, was silent")
    rollout = scene.hold(Stage.PRE_DEPLOY_CHECKS)
    for _ in range(2):
        assert scene.records.find(rollout.id).state is RolloutState.WORKING
        scene.held.go_on.set()
        scene.wait_for_work(PATIENCE_SECONDS)
        scene.controller.tick()  # hears that it was not reached
        scene.held.go_on.clear()
        scene.wait_for_work(0.1)
        scene.clock.move(scene.settings.ready_seconds / 2 + 1)
        scene.controller.tick()  # the next attempt
        scene.controller.tick()
    scene.held.go_on.set()
    scene.wait_for_work(PATIENCE_SECONDS)
    scene.controller.tick()
    over = scene.records.find(rollout.id)
    assert (over.state, over.is_faulty) == (RolloutState.ROLLING_BACK, False)
    assert "was silent (for 302 s)" in over.reason


def test_the_end_of_the_controller_waits_for_work_but_not_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.hold(Stage.DEPLOY_GREEN)
    monkeypatch.setattr(background, "END_SECONDS", 0.05)
    began = time.monotonic()
    scene.background.end()
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    assert scene.background.is_busy
    scene.release()
    assert not scene.background.is_busy
