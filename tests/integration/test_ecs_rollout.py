"""Rollouts on the target `ecs`: a real controller and real services, behind a local AWS that runs tasks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotrader.adapters.prediction_client import PredictionClient
from autotrader.adapters.routed_predictor import RoutedPredictor
from autotrader.bootstrap import Container
from autotrader.config.settings import Settings, load_settings
from autotrader.deployment.check_agreement import check_agreement
from autotrader.deployment.deploy import WatchProfile, deploy
from autotrader.domain.errors import AutotraderError, ExitCode
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.features.definitions import BALANCED
from autotrader.ports.deployment import DeploymentRecords, Rollout
from autotrader.ports.predictions import Prediction, PredictionRequest
from autotrader.ports.registry import Alias, ModelCandidate, ModelStatus
from tests.colours import ColoursOnAws, colours_on_aws
from tests.fakes.mlflow_server import StandInMlflow, serve
from tests.services import set_faults
from tests.unit.deployment.checks.platform import INSTRUMENTS, METADATA, NAME, NOW, model_bytes, small_market

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

TOKEN = "a-token-of-tests"
TASKS = {"AUTOTRADER_SERVING__TOKEN": TOKEN}
BLUE_GREEN = "autotrader.deployment.blue_green."
SYMBOLS = tuple(instrument.symbol for instrument in INSTRUMENTS)
SHIP = ("python", "-m", "autotrader.apps.shipping", "--log", "/predictions", "--leave-seconds", "110")


@dataclass
class Live:
    """A controller at work on a local AWS, and a registry to which versions are added."""

    aws: ColoursOnAws
    settings: Settings
    environment: Mapping[str, str]
    folder: Path
    mlflow: StandInMlflow
    _controller: subprocess.Popen[bytes] | None = None
    _told: Mapping[str, object] = field(default_factory=dict)
    _versions: int = 0

    @cached_property
    def container(self) -> Container:
        return Container(self.settings)

    @property
    def records(self) -> DeploymentRecords:
        return self.container.deployment_records

    @property
    def _ports(self) -> dict[str, Any]:
        """Of commands that are called here, without a process of their own."""
        container = self.container
        return {
            "settings": self.settings,
            "records": self.records,
            "registry": container.registry,
            "target": container.deployment_target,
            "clock": container.wall_clock,
        }

    def live(self) -> Rollout:
        """The rollout that made live what is."""
        live = self.records.live()
        assert live is not None
        return live

    def start_controller(self, **settings: object) -> None:
        self._told = settings
        more = {f"AUTOTRADER_{name}": str(value) for name, value in settings.items()}
        with (self.folder / "controller.log").open("ab") as log:
            self._controller = subprocess.Popen(
                [sys.executable, "-m", "autotrader.apps.controller"],
                stdout=log,
                stderr=log,
                env={**self.environment, **more},
            )

    def end_controller(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._controller is not None:
            self._controller.send_signal(how)
            self._controller.wait(60)
            self._controller = None

    def restart_controller(self, **settings: object) -> None:
        """Kill it as a machine that fails does, and start another."""
        self.end_controller(signal.SIGKILL)
        self.start_controller(**settings)

    def calm(self) -> None:
        """All is well, some version is live and nothing is under way, whatever a test left behind."""
        set_faults(self.aws.url)
        for task in (task for color in Color for task in self.aws.tasks(color)):
            for pid in task["pids"].values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        if self._controller is None or self._told:
            self.restart_controller()
        active = self.records.active()
        if active is not None:
            left = ("--version", active.version, "--reason", "another test begins")
            self.done("autotrader.deployment.emergency_rollback", *left)
            self.wait_until_over()
        if self.records.live() is None:
            self.switch(self.bring_up())
        self.wait_until_agreed()

    def command(self, *words: str) -> tuple[int, Any, str]:
        done = subprocess.run(
            [sys.executable, "-m", *words, "--json"],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr

    def done(self, *words: str) -> Any:
        code, said, errors = self.command(*words)
        assert code == 0, (said, errors)
        return said

    def begin(self, version: str) -> str:
        """Deploy it with all stages; returns the rollout's name."""
        begun = deploy(version=version, profile=WatchProfile.FAST, wait=False, **self._ports)
        return str(begun.data["rollout"])

    def bring_up(self) -> Color:
        """A new version in the colour that is not live, or in any; without traffic."""
        self.done(f"{BLUE_GREEN}deploy_green", "--model-version", self.register(), "--environment", "dev")
        self.done(f"{BLUE_GREEN}wait_for_ready", "--timeout", "100")
        rollout = self.records.active()
        assert rollout is not None
        return rollout.candidate

    def switch(self, to: Color) -> None:
        switched = self.done(f"{BLUE_GREEN}switch_traffic", "--from-env", to.other, "--to-env", to)
        assert switched["pending"] == []

    def wait(self, holds: Callable[[], object], seconds: float = 300.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.records.recent(1)
            time.sleep(0.05)

    def wait_for(self, stage: Stage) -> None:
        """Until the rollout is there, or beyond; one that paused or was taken back never comes."""
        rollout = self.records.active()
        while rollout is None or rollout.stage.number < stage.number:
            assert rollout is not None, self.records.recent(1)
            assert rollout.state is RolloutState.WORKING, rollout
            time.sleep(0.05)
            rollout = self.records.active()

    def wait_until_over(self) -> None:
        self.wait(lambda: self.records.active() is None)

    def wait_until_agreed(self) -> None:
        self.wait(lambda: check_agreement(**self._ports).exit_code is ExitCode.DONE)

    def require_agreement(self, version: str, color: Color) -> None:
        """Record, routes, registry, weights and what the load balancer leads to say the same."""
        live = self.live()
        assert (live.version, live.candidate) == (version, color)
        assert {route.owner(datetime.now(UTC)) for route in self.records.routes()} == {color}
        champion = self.container.registry.get(NAME, Alias.CHAMPION.value)
        assert (champion.semver, champion.status) == (version, ModelStatus.PRODUCTION)
        assert self.aws.weights() == {color.value: 100, color.other.value: 0}
        health = self.container.deployment_target.health(color)
        assert (health.ready, health.version) == (True, version), health

    def register(self) -> str:
        """A version that passed its gates."""
        self._versions += 1
        key = f"training-key-{self._versions}"
        path, native = self.folder / f"{key}.onnx", self.folder / f"{key}.txt"
        native.write_text(f"weights of {key}")
        path.write_bytes(model_bytes(metadata={**METADATA, "training_key": key}, seed=self._versions))
        tags = {
            "git_sha": "6421acd",
            "data_versions": "{}",
            "feature_set": BALANCED.version,
            "environment": "dev",
            "decision": "promoted",
            "instruments": " ".join(map(str, INSTRUMENTS)),
            "gate_report_sha256": "b" * 64,
        }
        candidate = ModelCandidate(
            name=NAME,
            training_key=key,
            onnx_path=path,
            native_path=native,
            feature_names=BALANCED.names,
            run_id=self.mlflow.make_run(),
            status=ModelStatus.CANDIDATE,
            reason="judged",
            tags=tags,
        )
        return self.container.registry.register(candidate, actor="training").semver


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("live")
    mlflow = StandInMlflow()
    lake = str(home / "lake")
    with (
        serve(mlflow) as uri,
        colours_on_aws(home, environment={**TASKS, "AUTOTRADER_LAKE__URI": lake}, ship=SHIP) as aws,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {
            **aws.environment,
            **TASKS,
            "AUTOTRADER_LAKE__URI": lake,
            "AUTOTRADER_HOME": str(home / "home"),
            "AUTOTRADER_MLFLOW__TRACKING_URI": uri,
            "AUTOTRADER_STRATEGY__INTERVAL": "5m",
            "AUTOTRADER_BINANCE__INSTRUMENTS": ",".join(SYMBOLS),
            "AUTOTRADER_CLOCK__MARKET_TIME": (NOW + timedelta(minutes=4)).isoformat(),
            "AUTOTRADER_DEPLOYMENT__READY_SECONDS": "60",
            "AUTOTRADER_DEPLOYMENT__CANARY_INSTRUMENTS": SYMBOLS[0],
        }.items():
            patch.setenv(name, value)
        small_market(Path(lake))
        live = Live(aws, load_settings(), dict(os.environ), home, mlflow)
        try:
            yield live
        finally:
            live.end_controller()


@pytest.fixture
def live(platform: Live) -> Live:
    platform.calm()
    return platform


@dataclass
class Load:
    """A caller that asks for a prediction all the time, as a trader does; counts what it gets."""

    settings: Settings
    answers: list[Prediction] = field(default_factory=list)
    failures: list[AutotraderError] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)

    async def _ask(self) -> None:
        container = Container(self.settings)
        row = np.zeros(len(BALANCED.names)).tolist()
        async with (
            PredictionClient(TOKEN, timeout_seconds=60) as client,
            RoutedPredictor(container.deployment_records, client, container.wall_clock) as predictor,
        ):
            number = 0
            while not self._stop.is_set():
                number += 1
                request = PredictionRequest(
                    f"load-{id(self)}-{number}",
                    str(INSTRUMENTS[number % len(INSTRUMENTS)]),
                    BALANCED.version,
                    [NOW],
                    [row],
                )
                try:
                    self.answers.append(await predictor.predict(request))
                except AutotraderError as error:
                    self.failures.append(error)
                await asyncio.sleep(0.02)


@contextlib.contextmanager
def slowed(pid: int) -> Iterator[None]:
    """Have the process stand still for most of the time, too long for an answer and not for a caller."""
    end = threading.Event()

    def slow() -> None:
        while not end.is_set():
            os.kill(pid, signal.SIGSTOP)
            end.wait(0.3)
            os.kill(pid, signal.SIGCONT)
            end.wait(0.1)

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def seen(load: Load) -> Mapping[str, int]:
    versions = [answer.version for answer in load.answers]
    return {version: versions.count(version) for version in set(versions)}


def test_a_rollout_whose_controller_is_killed_twice_goes_through_its_stages_and_can_be_taken_back(
    live: Live,
) -> None:
    before, second = live.live(), live.register()
    first, blue, green = before.version, before.candidate, before.candidate.other
    with Load(live.settings) as load:
        live.wait(lambda: load.answers)
        rollout = live.begin(second)
        live.wait(lambda: live.aws.service(green)["desiredCount"] == 1)
        live.restart_controller()
        live.wait_for(Stage.CANARY)
        live.restart_controller()
        live.wait_until_over()
        assert live.records.find(rollout).state is RolloutState.COMPLETED, live.records.find(rollout)
        live.wait_until_agreed()
        live.require_agreement(second, green)
        definition = live.aws.service(green)["taskDefinition"]
        started = [task for task in live.aws.tasks(green) if task["definition"] == definition]
        assert len(started) == 1, "each controller goes on with the task of the one before"
        rolled = live.done("autotrader.deployment.emergency_rollback", "--reason", "a rehearsal")
        assert (rolled["live"], rolled["pending"]) == (first, [])
        assert rolled["seconds"] < 5
        live.require_agreement(first, blue)
        count = len(load.answers)
        live.wait(lambda: len(load.answers) > count + 10)
    assert load.failures == []
    assert set(seen(load)) == {first, second}
    assert load.answers[-1].version == first


def test_a_canary_that_hangs_is_taken_back_and_weights_changed_by_hand_are_put_back_and_told_once(
    live: Live,
) -> None:
    before, version = live.live(), live.register()
    rollout = live.begin(version)
    live.wait_for(Stage.SHADOW)
    live.aws.set_weights(blue=50, green=50)
    of_live, of_candidate = before.candidate.value, before.candidate.other.value
    live.wait(lambda: live.aws.weights() == {of_live: 100, of_candidate: 0})
    live.wait_for(Stage.CANARY)
    told = [e for e in live.container.events.recent(limit=1000) if "by hand" in e.message]
    assert [(e.severity, e.data["was"]) for e in told[:1]] == [("warning", "blue 50, green 50")]
    assert len([e for e in told if e.at > live.records.find(rollout).created_at]) == 1
    pid = live.aws.pid(before.candidate.other)
    os.kill(pid, signal.SIGSTOP)
    live.wait(lambda: live.records.find(rollout).state is not RolloutState.WORKING)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)  # so that it ends when it is told to
    live.wait_until_over()
    ended = live.records.find(rollout)
    assert (ended.state, ended.is_faulty) == (RolloutState.ROLLED_BACK, True)
    assert re.search("requests failed|did not answer within 2 s", ended.reason)
    live.require_agreement(before.version, before.candidate)
    assert live.aws.service(before.candidate.other)["desiredCount"] == 0
    assert live.container.registry.get(NAME, version).status is ModelStatus.FAILED


def test_a_candidate_that_answers_slowly_is_taken_back_and_what_it_predicted_is_in_the_lake(
    live: Live,
) -> None:
    before, version = live.live(), live.register()
    rollout = live.begin(version)
    live.wait_for(Stage.SHADOW)
    with slowed(live.aws.pid(before.candidate.other)):
        live.wait(lambda: live.records.find(rollout).state is not RolloutState.WORKING)
    live.wait_until_over()
    ended = live.records.find(rollout)
    assert (ended.state, ended.is_faulty) == (RolloutState.ROLLED_BACK, True)
    assert re.search("200 ms|slow", ended.reason)
    live.require_agreement(before.version, before.candidate)
    live.aws.wait(lambda: not any(t["pids"] for t in live.aws.tasks(before.candidate.other)), seconds=130)
    served = live.container.predictions.read(start=NOW - timedelta(days=9), end=NOW + timedelta(days=1))
    assert served.filter(version=version).height > 100


def test_a_version_whose_tasks_never_become_healthy_is_taken_back_after_ready_seconds(live: Live) -> None:
    before, version = live.live(), live.register()
    live.restart_controller(DEPLOYMENT__READY_SECONDS=5)
    live.aws.register(before.candidate.other, image="autotrader:missing", extra=TASKS)
    try:
        code, said, _ = live.command(
            "autotrader.deployment.deploy", "--version", version, "--profile", "fast"
        )
    finally:
        extra = {**TASKS, "AUTOTRADER_LAKE__URI": live.settings.lake.uri}
        live.aws.register(before.candidate.other, ship=SHIP, extra=extra)
    assert code == 1
    assert f"not ready on {before.candidate.other} within 5 s" in said["reason"]
    assert "CannotPullContainerError" in said["reason"]
    live.wait_until_over()
    live.require_agreement(before.version, before.candidate)


def test_while_aws_cannot_be_reached_traffic_moves_and_what_it_does_not_show_yet_follows(live: Live) -> None:
    before = live.live()
    to = live.bring_up()
    with Load(live.settings) as load:
        live.wait(lambda: load.answers)
        unreachable = {"action": "*", "kind": "error", "code": "ServiceUnavailable", "status": 503}
        set_faults(live.aws.url, {**unreachable, "times": 10_000})
        code, said, _ = live.command(
            f"{BLUE_GREEN}switch_traffic", "--from-env", before.candidate, "--to-env", to
        )
        assert code == 3
        assert said["live"] == live.live().version != before.version
        assert "front door: cannot" in said["pending"][0]
        assert {route.owner(datetime.now(UTC)) for route in live.records.routes()} == {to}
        set_faults(live.aws.url)
        live.wait_until_agreed()
        live.require_agreement(said["live"], to)

        set_faults(live.aws.url, {"action": "*", "kind": "hang", "seconds": 5, "times": 10_000})
        code, said, _ = live.command(
            "autotrader.deployment.emergency_rollback", "--version", said["live"], "--reason", "a rehearsal"
        )
        assert (code, said["live"]) == (3, before.version)
        assert "front door: cannot" in said["pending"][0]
        assert {route.owner(datetime.now(UTC)) for route in live.records.routes()} == {before.candidate}
        set_faults(live.aws.url)
        live.wait_until_agreed()
        live.require_agreement(before.version, before.candidate)
    assert load.failures == []
