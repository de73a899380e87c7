"""What every place where colours run has in common: processes here, containers, services of ECS."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotrader.adapters.container_target import ContainerTarget
from autotrader.adapters.ecs_releases import S3Releases
from autotrader.adapters.ecs_target import EcsTarget
from autotrader.adapters.local_target import PROCESS, LocalTarget
from autotrader.adapters.processes import ProcessTable
from autotrader.apps.serving.follow import Follower
from autotrader.config.settings import Settings
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import DeploymentTarget, SlotHealth
from tests.colours import STAND_IN, ColoursOnAws, colours_on_aws, stand_in_release
from tests.services import free_port

pytestmark = pytest.mark.timeout(180)

SERVER = STAND_IN


@dataclass
class Place:
    """A target, and the process of what runs in a colour there."""

    target: DeploymentTarget
    pid: Callable[[Color], int]

    def wait(self, color: Color, holds: Callable[[SlotHealth], bool]) -> SlotHealth:
        deadline = time.monotonic() + 60
        while not holds(health := self.target.health(color)):
            assert time.monotonic() < deadline, health
            time.sleep(0.05)
        return health

    def wait_for(self, color: Color, version: str) -> SlotHealth:
        return self.wait(color, lambda health: health.ready and health.version == version)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ColoursOnAws]:
    with colours_on_aws(tmp_path_factory.mktemp("aws"), serve=SERVER) as aws:
        yield aws


@contextlib.contextmanager
def followers(settings: Settings) -> Iterator[dict[Color, Follower]]:
    """What runs in the containers, as threads."""
    ended = threading.Event()
    ports = {Color.BLUE: settings.serving.blue_port, Color.GREEN: settings.serving.green_port}
    made = {
        color: Follower(
            settings.home, color, port=port, serve=(sys.executable, *SERVER[1:]), grace_seconds=2.0
        )
        for color, port in ports.items()
    }

    def run(follower: Follower) -> None:
        while not ended.wait(0.02):
            follower.step()
        follower.end()

    threads = [threading.Thread(target=run, args=(follower,)) for follower in made.values()]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        ended.set()
        for thread in threads:
            thread.join(timeout=30)


@pytest.fixture(params=["local", "containers", "ecs"])
def place(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if request.param == "ecs":
        aws: ColoursOnAws = request.getfixturevalue("aws")
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        settings = Settings()
        yield Place(EcsTarget(settings, S3Releases(settings)), aws.pid)
        aws.reset()
        return
    for name in ("BLUE_PORT", "GREEN_PORT"):
        monkeypatch.setenv(f"AUTOTRADER_SERVING__{name}", str(free_port()))
    monkeypatch.setenv("AUTOTRADER_SERVING__DRAIN_SECONDS", "0.5")
    if request.param == "containers":
        monkeypatch.setenv("AUTOTRADER_DEPLOYMENT__CONTAINER_HOST", "127.0.0.1")
        settings = Settings()
        with followers(settings) as made:
            yield Place(ContainerTarget(settings), lambda color: made[color].pid or 0)
        return
    target = LocalTarget(Settings(), command=(sys.executable, *SERVER[1:]))

    def pid(color: Color) -> int:
        process = ProcessTable(home / "deployment" / "processes" / color).process(PROCESS)
        assert process is not None
        return process.pid

    yield Place(target, pid)
    for color in Color:
        target.stop(color)


def test_a_release_runs_in_its_colour_until_it_is_stopped_and_the_other_is_left_alone(
    place: Place, tmp_path: Path
) -> None:
    target = place.target
    assert isinstance(target, DeploymentTarget)
    for color in Color:
        assert target.health(color) == SlotHealth(False, False, None, f"nothing runs in {color}")
    blue = target.start(Color.BLUE, stand_in_release(tmp_path / "r"))
    green = target.start(Color.GREEN, stand_in_release(tmp_path / "r", "v1.1.0"))
    assert blue.startswith("http")
    place.wait_for(Color.BLUE, "v1.0.0")
    place.wait_for(Color.GREEN, "v1.1.0")
    told = [place.wait(color, lambda health: health.ready).memory_bytes for color in Color]
    assert all(1e6 < (memory or 0) < 1e9 for memory in told), "a rollout is decided by what it uses"
    before = place.pid(Color.BLUE)
    assert target.start(Color.BLUE, stand_in_release(tmp_path / "r")) == blue
    for _ in range(2):
        target.stop(Color.GREEN)
    place.wait(Color.GREEN, lambda health: health.reason == "nothing runs in green")
    place.wait_for(Color.BLUE, "v1.0.0")
    assert place.pid(Color.BLUE) == before
    assert green.startswith("http")


def test_another_release_replaces_the_one_that_runs(place: Place, tmp_path: Path) -> None:
    place.target.start(Color.BLUE, stand_in_release(tmp_path / "r"))
    place.wait_for(Color.BLUE, "v1.0.0")
    before = place.pid(Color.BLUE)
    place.target.start(Color.BLUE, stand_in_release(tmp_path / "r", "v1.1.0"))
    place.wait_for(Color.BLUE, "v1.1.0")
    assert place.wait(Color.BLUE, lambda health: health.ready).version == "v1.1.0"
    with contextlib.suppress(ProcessLookupError):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            os.kill(before, 0)
            time.sleep(0.05)
        pytest.fail("what was replaced runs on")


def test_one_that_is_not_ready_yet_or_hangs_says_so(place: Place, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    place.target.start(Color.GREEN, stand_in_release(tmp_path / "r", "v1.2.0", waits_for=str(loaded)))
    assert not place.target.health(Color.GREEN).ready
    loaded.touch()
    place.wait_for(Color.GREEN, "v1.2.0")
    os.kill(place.pid(Color.GREEN), signal.SIGSTOP)
    hung = place.wait(Color.GREEN, lambda health: not health.ready)
    assert "did not answer" in hung.reason
    assert not hung.live
    os.kill(place.pid(Color.GREEN), signal.SIGCONT)
    place.wait_for(Color.GREEN, "v1.2.0")


def test_one_that_was_killed_is_up_again_once_it_is_started_again(place: Place, tmp_path: Path) -> None:
    release = stand_in_release(tmp_path / "r")
    place.target.start(Color.BLUE, release)
    place.wait_for(Color.BLUE, "v1.0.0")
    before = place.pid(Color.BLUE)
    os.kill(before, signal.SIGKILL)

    def is_another() -> bool:
        """Some places start what ended by themselves, and may be quicker than we look."""
        with contextlib.suppress(ValueError, LookupError, AssertionError):  # nothing runs
            return place.pid(Color.BLUE) not in (before, 0)
        return False

    place.wait(Color.BLUE, lambda health: not health.ready or is_another())
    place.target.start(Color.BLUE, release)
    place.wait_for(Color.BLUE, "v1.0.0")
    assert place.pid(Color.BLUE) != before


def test_callers_that_name_no_colour_can_be_sent_to_one(place: Place) -> None:
    for color in (Color.GREEN, Color.GREEN, Color.BLUE):
        place.target.point(color)
        assert place.target.sends_elsewhere(color) is None
