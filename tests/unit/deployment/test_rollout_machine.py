"""Whatever happens in whatever order: traffic has one owner, and in the end all records agree."""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.deployment.controller import StageResult
from autotrader.deployment.emergency_rollback import emergency_rollback
from autotrader.domain.errors import Refused, Unreachable
from autotrader.domain.rollout import FAST, Color, Outcome, Stage
from autotrader.ports.registry import ModelStatus
from tests.unit.deployment.doubles import INSTRUMENTS, MODEL, PASSED, Deployment

RESULTS = st.sampled_from(
    [
        PASSED,
        PASSED,
        StageResult(Outcome.FAIL, "worse"),
        StageResult(Outcome.INCONCLUSIVE, "no data"),
    ]
)


class Rollouts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.d = Deployment(versions=3)
        self.settings = Settings(binance={"instruments": tuple(i.partition(":")[2] for i in INSTRUMENTS)})
        self.epochs: dict[str, int] = {}

    @rule(version=st.integers(0, 2), goal=st.sampled_from(list(Stage)))
    def ask_for_a_rollout(self, version: int, goal: Stage) -> None:
        with contextlib.suppress(Refused):
            found = requests.deployable(self.d.registry, MODEL, self.d.versions[version])
            requests.begin(
                self.d.records,
                strategy_id=MODEL,
                version=found.semver,
                profile=FAST,
                goal=goal,
                reason="test",
                actor="tester",
                now=self.d.clock.now(),
            )

    @precondition(lambda self: self.d.records.active() is not None)
    @rule(goal=st.sampled_from(list(Stage)))
    def ask_for_a_stage(self, goal: Stage) -> None:
        active = self.d.records.active()
        assert active is not None
        requests.go_to(self.d.records, active.id, goal, actor="tester", now=self.d.clock.now())

    @rule(ticks=st.integers(1, 30), result=RESULTS)
    def the_controller_works(self, ticks: int, result: StageResult) -> None:
        self.d.watch.sees = result
        self.d.work.tests = result
        self.d.run(ticks)
        self.d.watch.sees = self.d.work.tests = PASSED

    @rule()
    def the_controller_is_killed_and_another_starts(self) -> None:
        self.d.restart()

    @rule(seconds=st.sampled_from([1, 100, 200, 4000, 90_000]))
    def time_goes_by(self, seconds: int) -> None:
        self.d.clock.move(seconds)

    @rule(color=st.sampled_from(list(Color)))
    def a_colour_dies(self, color: Color) -> None:
        self.d.target.running.pop(color, None)

    @rule()
    def an_operator_sends_on(self) -> None:
        with contextlib.suppress(Refused):
            requests.send_on(self.d.records, "looks fine", actor="anna", now=self.d.clock.now())

    @rule(during=st.sampled_from(["start", "stop", "health"]))
    def an_operator_rolls_back_while_the_controller_is_at_it(self, during: str) -> None:
        self.d.target.meanwhile[during] = lambda: self.an_operator_rolls_back(None)

    @rule()
    def what_is_warm_is_stopped_while_an_operator_rolls_back(self) -> None:
        def stop() -> None:
            self.d.clock.move(90_000)
            self.d.controller.tick()

        self.d.target.meanwhile["health"] = stop
        self.an_operator_rolls_back(None)

    @rule(version=st.none() | st.integers(0, 2))
    def an_operator_rolls_back(self, version: int | None) -> None:
        with contextlib.suppress(Refused, Unreachable):
            emergency_rollback(
                reason="nerves",
                version=None if version is None else self.d.versions[version],
                timeout_seconds=0,
                settings=self.settings,
                records=self.d.records,
                registry=self.d.registry,
                target=self.d.target,
                clock=self.d.clock,
            )

    @rule(reachable=st.booleans())
    def the_registry_comes_and_goes(self, reachable: bool) -> None:
        self.d.registry.reachable = True if reachable else self.d.registry.reachable

    @invariant()
    def epochs_never_go_back(self) -> None:
        for route in self.d.records.routes():
            assert route.epoch >= self.epochs.get(route.instrument, 0)
            self.epochs[route.instrument] = route.epoch

    @invariant()
    def nothing_that_failed_its_gates_or_a_rollout_is_live(self) -> None:
        live = self.d.records.live()
        if live is not None and self.d.records.active() is None:
            assert self.d.registry.get(MODEL, live.version).status is not ModelStatus.FAILED

    @invariant()
    def without_a_rollout_one_colour_owns_everything(self) -> None:
        owners = set(self.d.owners().values())
        live = self.d.records.live()
        if self.d.records.active() is None:
            assert owners <= {live.candidate if live else None}

    @invariant()
    def what_is_live_is_recorded_as_ready(self) -> None:
        live = self.d.records.live()
        if live is not None:
            assert self.d.records.slots()[live.candidate].serves(live.version)

    def teardown(self) -> None:
        """With time and a healthy world, all records agree."""
        self.d.target.meanwhile.clear()
        self.d.clock.move(5 * 3600)
        self.d.run(400, seconds=60)
        assert self.d.records.active() is None
        self.d.clock.move(60)
        self.d.controller.tick()
        live = self.d.records.live()
        if live is None:
            assert set(self.d.owners().values()) <= {None}
            return
        champion = self.d.registry.get(MODEL, "champion")
        assert (champion.semver, champion.status) == (live.version, ModelStatus.PRODUCTION)
        assert self.d.records.slots()[live.candidate].version == live.version


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
)
