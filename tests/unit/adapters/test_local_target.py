"""Colours as processes of this machine, with a stand-in for the service that they run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from autotrader.adapters import local_target
from autotrader.adapters.local_ports import choose_port
from autotrader.adapters.local_target import LocalTarget
from autotrader.adapters.processes import GRACE_SECONDS
from autotrader.config.settings import ServingSettings, Settings
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.rollout import Color
from autotrader.monitoring.colour_ports import of_home, told_port
from autotrader.ports.deployment import DeploymentTarget, Release, SlotHealth
from tests.fakes import deployment_server
from tests.services import free_port

pytestmark = pytest.mark.integration

SERVER = (sys.executable, "-S", str(Path(deployment_server.__file__)))


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AUTOTRADER_SERVING__BLUE_PORT", str(free_port()))
    monkeypatch.setenv("AUTOTRADER_SERVING__GREEN_PORT", str(free_port()))
    monkeypatch.setenv("AUTOTRADER_SERVING__DRAIN_SECONDS", "0.5")
    return Settings()


@pytest.fixture
def target(settings: Settings) -> Iterator[LocalTarget]:
    target = LocalTarget(settings, command=SERVER)
    yield target
    for color in Color:
        target.stop(color)


def release(folder: Path, version: str = "v1.0.0", **behaviour: Any) -> Release:
    made = Release("strategy", version, str(folder / version), "ab" * 32, "balanced-v1")
    deployment_server.write_release(Path(made.folder), version, **behaviour)
    return made


def wait_for(target: LocalTarget, color: Color, reason: str) -> SlotHealth:
    deadline = time.monotonic() + 120
    while reason not in (health := target.health(color)).reason:
        assert time.monotonic() < deadline, health
        time.sleep(0.02)
    return health


def pid(settings: Settings, color: Color) -> int:
    record = settings.home / "deployment" / "processes" / color / "serving.json"
    return int(json.loads(record.read_text())["pid"])


def test_a_colour_that_does_not_listen_yet_keeps_its_port(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(*named: Any, promised: set[int], **wanted: Any) -> int:
        # As if the other one were started at once, and its own port were somebody else's.
        return choose_port(*named, promised=promised, **{**wanted, "wanted": port, "default": port})

    port = free_port()
    monkeypatch.setattr(local_target, "choose_port", choose)
    target = LocalTarget(Settings(), command=(sys.executable, "-c", "import time; time.sleep(60)"))
    try:
        endpoints = {target.start(color, release(tmp_path / color)) for color in Color}
        assert len(endpoints) == 2
    finally:
        for color in Color:
            target.stop(color)


def test_a_release_runs_on_its_colours_port_until_it_is_stopped(
    target: LocalTarget, settings: Settings, tmp_path: Path
) -> None:
    assert isinstance(target, DeploymentTarget)
    assert target.health(Color.GREEN).reason == "nothing runs in green"
    endpoint = target.start(Color.GREEN, release(tmp_path))
    assert endpoint == f"http://127.0.0.1:{settings.serving.green_port}"
    health = wait_for(target, Color.GREEN, "ready")
    assert (health.live, health.ready, health.version) == (True, True, "v1.0.0")
    assert health.memory_bytes is not None
    assert 1e6 < health.memory_bytes < 1e9
    assert target.health(Color.BLUE).reason == "nothing runs in blue"
    target.stop(Color.GREEN)
    assert target.health(Color.GREEN) == SlotHealth(False, False, None, "nothing runs in green")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{endpoint}/health", trust_env=False)


def test_starting_what_runs_already_leaves_it_alone_also_from_another_process(
    target: LocalTarget, settings: Settings, tmp_path: Path
) -> None:
    given = release(tmp_path)
    endpoint = target.start(Color.BLUE, given)
    before = pid(settings, Color.BLUE)
    code = f"""
from autotrader.adapters.local_target import LocalTarget
from autotrader.config.settings import Settings
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release
target = LocalTarget(Settings(), command={SERVER!r})
print(target.start(Color.BLUE, {given!r}))
"""
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == endpoint == target.start(Color.BLUE, given)
    assert pid(settings, Color.BLUE) == before


def test_another_release_replaces_the_one_that_runs(
    target: LocalTarget, settings: Settings, tmp_path: Path
) -> None:
    target.start(Color.BLUE, release(tmp_path))
    wait_for(target, Color.BLUE, "ready")
    before = pid(settings, Color.BLUE)
    target.start(Color.BLUE, release(tmp_path, "v1.1.0"))
    assert wait_for(target, Color.BLUE, "ready").version == "v1.1.0"
    assert not psutil.pid_exists(before)


def test_a_service_that_is_not_ready_yet_says_so(target: LocalTarget, tmp_path: Path) -> None:
    target.start(Color.BLUE, release(tmp_path, ready_after_seconds=60))
    health = wait_for(target, Color.BLUE, "starting")
    assert (health.live, health.ready) == (True, False)


def test_a_service_that_died_is_reported_with_the_end_of_its_log_and_started_again(
    target: LocalTarget, settings: Settings, tmp_path: Path
) -> None:
    given = release(tmp_path)
    (Path(given.folder) / "model.onnx").write_text("no model")
    target.start(Color.BLUE, given)
    health = wait_for(target, Color.BLUE, "ended unexpectedly")
    assert (health.live, health.ready, health.memory_bytes) == (False, False, None)
    assert "JSONDecodeError" in health.reason
    (Path(given.folder) / "model.onnx").write_text("{}")
    target.start(Color.BLUE, given)
    assert wait_for(target, Color.BLUE, "ready").ready


def test_a_service_that_is_stuck_is_silent_and_is_killed_after_its_grace(
    target: LocalTarget, settings: Settings, tmp_path: Path
) -> None:
    target.start(Color.BLUE, release(tmp_path, ignores_sigterm=True))
    wait_for(target, Color.BLUE, "ready")
    os.kill(pid(settings, Color.BLUE), signal.SIGSTOP)
    health = target.health(Color.BLUE)
    assert "did not answer within 2 s" in health.reason
    assert (health.live, health.ready) == (False, False)
    os.kill(pid(settings, Color.BLUE), signal.SIGCONT)
    before = pid(settings, Color.BLUE)
    begin = time.monotonic()
    target.stop(Color.BLUE)
    assert 1.0 < time.monotonic() - begin < GRACE_SECONDS
    assert not psutil.pid_exists(before)


def test_a_service_that_was_started_by_one_who_died_before_writing_it_down_is_replaced(
    target: LocalTarget, settings: Settings, tmp_path: Path
) -> None:
    given = release(tmp_path)
    target.start(Color.BLUE, given)
    wait_for(target, Color.BLUE, "ready")
    orphan = pid(settings, Color.BLUE)
    (settings.home / "deployment" / "processes" / "blue" / "serving.json").unlink()
    target.start(Color.BLUE, given)
    wait_for(target, Color.BLUE, "ready")
    assert pid(settings, Color.BLUE) != orphan
    assert not psutil.pid_exists(orphan)


def test_requests_under_way_are_answered_before_it_ends(target: LocalTarget, tmp_path: Path) -> None:
    endpoint = target.start(Color.BLUE, release(tmp_path, delay_seconds=0.3))
    wait_for(target, Color.BLUE, "ready")
    code = f"""
import httpx
body = {{"request_id": "q", "rows": [[0.5]]}}
client = httpx.Client(trust_env=False)  # takes longer than to ask
client.get("{endpoint}/health")
print("asking", flush=True)
print(client.post("{endpoint}/predict", json=body).status_code)
"""
    asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    asking.stdout.readline()
    with httpx.Client(trust_env=False) as client:
        while asking.poll() is None and client.get(f"{endpoint}/health").json()["under_way"] < 2:
            time.sleep(0.01)  # one is this look
    target.stop(Color.BLUE)
    assert asking.communicate(timeout=60)[0].strip() == "200"


def test_a_port_that_somebody_set_and_another_took_is_an_error(
    target: LocalTarget, settings: Settings, tmp_path: Path
) -> None:
    with (
        socket.create_server(("127.0.0.1", settings.serving.blue_port)),
        pytest.raises(ConfigurationError, match=r"AUTOTRADER_SERVING__BLUE_PORT.*is taken"),
    ):
        target.start(Color.BLUE, release(tmp_path))


def test_a_port_that_moved_is_told_to_who_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        usual = taken.getsockname()[1]
        # Nobody set it: it is the usual one, and it may move.
        monkeypatch.setattr(local_target, "ServingSettings", lambda: ServingSettings(blue_port=usual))
        settings = Settings(_env_file=None, home=tmp_path / "moved", serving={"blue_port": usual})
        target = LocalTarget(settings, command=SERVER)
        try:
            endpoint = target.start(Color.BLUE, release(tmp_path))
            told = told_port(of_home(settings.home), Color.BLUE)
            assert (endpoint, told != usual) == (f"http://127.0.0.1:{told}", True)
            (of_home(settings.home) / "blue.json").unlink()  # started by a version that told nobody
            target.start(Color.BLUE, release(tmp_path))
            assert told_port(of_home(settings.home), Color.BLUE) == told
        finally:
            target.stop(Color.BLUE)


def test_one_that_answers_in_another_colours_name_is_not_taken_for_it(
    target: LocalTarget, settings: Settings, tmp_path: Path
) -> None:
    given = release(tmp_path)
    target.start(Color.BLUE, given)
    target.start(Color.GREEN, given)
    wait_for(target, Color.BLUE, "ready")
    record = settings.home / "deployment" / "processes" / "green" / "serving.json"
    kept = record.read_text()
    record.write_text(kept.replace(str(settings.serving.green_port), str(settings.serving.blue_port)))
    assert "expected green" in target.health(Color.GREEN).reason
    record.write_text(kept)
