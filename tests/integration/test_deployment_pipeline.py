"""Rollouts in a running Airflow, through real services: one that succeeds, and those that must not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from autotrader.adapters.airflow_api import AirflowApi
from autotrader.adapters.local_target import PROCESS
from autotrader.adapters.processes import ProcessTable
from autotrader.apps.stack import services
from autotrader.bootstrap import Container
from autotrader.config.serving_token import serving_token
from autotrader.config.settings import Settings, load_settings
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.ports.events import EventType
from autotrader.ports.registry import ModelStatus
from tests.integration.conftest import ended
from tests.services import UNSCHEDULED

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
MODEL = "autotrader-strategy"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SMALL = {
    "MARKET_SOURCE": "simulated",
    "SIMULATION__DAYS": "8",
    "BINANCE__INSTRUMENTS": ",".join(SYMBOLS),
    "TRAINING__LOOKBACK_DAYS": "4",
    "TRAINING__EVALUATION_DAYS": "2",
    "TRAINING__FOLD_DAYS": "1",
    "TRAINING__TRIALS_PER_MODEL": "1",
    "TRAINING__MODELS": "logistic",
}
FAMILIES = {"second": "lightgbm", "third": "hist_gradient_boosting"}


@dataclass(frozen=True)
class Live:
    """A stack with a version live on it."""

    settings: Settings
    environment: Mapping[str, str]
    api: AirflowApi
    summary: Mapping[str, Any]

    @property
    def container(self) -> Container:
        return Container(self.settings)

    def command(self, *words: str) -> tuple[int, Any, str]:
        done = subprocess.run(
            [sys.executable, "-m", *words, "--json"],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr

    def status(self) -> Any:
        code, status, errors = self.command("autotrader.deployment.get_status")
        assert code == 0, errors
        return status

    def train(self, family: str) -> str:
        """A version that nobody deployed; returns its semver."""
        self.api.unpause("training_pipeline")
        run_id = self.api.trigger("training_pipeline", {"models": [family], "promote": False})
        assert ended(self.api, "training_pipeline", run_id).state == "success"
        registered = self.api.returned("training_pipeline", run_id, "register_model")
        assert registered["semver"], registered
        return str(registered["semver"])

    def serving(self, color: Color) -> psutil.Process:
        table = ProcessTable(self.settings.home / "deployment" / "processes" / color)
        process = table.process(PROCESS)
        assert process is not None
        return process

    def wait_for_stage(self, stage: Stage, seconds: float = 300.0) -> None:
        records = self.container.deployment_records
        deadline = time.monotonic() + seconds
        while True:
            rollout = records.active()
            if rollout is not None and rollout.stage is stage:
                return
            assert time.monotonic() < deadline, rollout
            time.sleep(0.05)

    def wait_until_over(self, seconds: float = 300.0) -> None:
        records = self.container.deployment_records
        deadline = time.monotonic() + seconds
        while records.active() is not None:
            assert time.monotonic() < deadline, records.active()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HOME": str(home), **SMALL}.items():
            patch.setenv(f"AUTOTRADER_{name}", value)
        for name, value in UNSCHEDULED.items():
            patch.setenv(name, value)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "autotrader.cli", "quickstart", "--json"],
                capture_output=True,
                text=True,
                check=False,
                cwd=ROOT,
            )
            assert done.returncode == 0, done.stderr[-4000:]
            settings = load_settings()
            with services.airflow_client(settings) as api:
                yield Live(settings, dict(os.environ), api, json.loads(done.stdout.splitlines()[-1]))
        finally:
            services.stop(load_settings())


@pytest.fixture(scope="module")
def second(live: Live) -> str:
    return live.train(FAMILIES["second"])


def test_the_quickstart_ends_with_a_version_that_went_through_every_stage(live: Live) -> None:
    deployment = live.summary["deployment"]
    assert (deployment["active_color"], deployment["active_version"]) == ("blue", live.summary["semver"])
    assert [s["stage"] for s in deployment["stages"]] == [
        "pre_deploy_checks",
        "deploy_green",
        "run_integration_tests",
        "shadow",
        "canary",
        "100_percent",  # a quarter and half of three are the two canaries
        "finalize",
    ]
    assert {s["outcome"] for s in deployment["stages"]} == {"pass"}
    canary = deployment["stages"][4]["evidence"]["checks"]
    assert canary["error_rate"]["outcome"] == "pass"
    assert canary["parity"]["evidence"]
    assert live.summary["health_check"]["health"] in {"healthy", "warning", "critical"}
    assert Path(live.summary["health_check"]["report"]).stat().st_size > 10_000


def test_status_registry_and_service_agree(live: Live) -> None:
    status = live.status()
    assert (status["active_color"], status["active_version"]) == ("blue", live.summary["semver"])
    assert {r["instrument"]: r["color"] for r in status["routes"]} == {
        f"binance:{symbol}": "blue" for symbol in SYMBOLS
    }
    assert status["controller"].startswith("at work")
    champion = live.container.registry.get(MODEL, "champion")
    assert (champion.semver, champion.status) == (live.summary["semver"], ModelStatus.PRODUCTION)
    health = httpx.get(f"{status['slots']['blue']['endpoint']}/health", timeout=60, trust_env=False).json()
    assert (health["version"], health["onnx_sha256"]) == (champion.semver, champion.onnx_sha256)


def test_smoke_passes_on_what_is_live_and_names_what_is_not(live: Live) -> None:
    code, report, errors = live.command("autotrader.tests.smoke", "--model", live.summary["semver"])
    assert code == 0, (report, errors)
    assert live.command("autotrader.tests.smoke", "--model", "v9.9.9")[0] == 1


def test_what_was_served_is_in_the_lake(live: Live) -> None:
    store = live.container.predictions
    clock = live.container.market_clock
    deadline = time.monotonic() + 120
    while True:
        served = store.read(start=clock.now().replace(year=2000), end=clock.now())
        if served.height:
            break
        assert time.monotonic() < deadline
        time.sleep(1)
    assert set(served["version"]) == {live.summary["semver"]}
    assert served.filter(~served["replayed"]).height == 0
    total = served["p_down"] + served["p_flat"] + served["p_up"]
    assert ((total - 1).abs() < 1e-5).all()


def test_a_canary_that_hangs_is_taken_back_and_the_run_says_why(live: Live) -> None:
    version = live.train(FAMILIES["third"])
    before = live.status()
    run_id = live.api.trigger("deployment_pipeline", {"model_version": version, "profile": "fast"})
    live.wait_for_stage(Stage.CANARY)
    live.serving(Color.GREEN).send_signal(signal.SIGSTOP)
    run = ended(live.api, "deployment_pipeline", run_id)

    assert run.state == "failed"
    tasks = {t.task_id: t for t in live.api.tasks("deployment_pipeline", run_id)}
    assert tasks["canary_rollout"].state == "failed"
    assert tasks["rollback"].state == "success"
    assert tasks["finalize_deployment"].state == "upstream_failed"
    said = live.api.failure(tasks["canary_rollout"], "deployment_pipeline", run_id)
    assert "canary:" in said
    live.wait_until_over()
    after = live.status()
    assert (after["active_color"], after["active_version"]) == ("blue", before["active_version"])
    assert {r["color"] for r in after["routes"]} == {"blue"}
    assert after["slots"]["green"]["state"] == "empty"
    registry = live.container.registry
    assert registry.get(MODEL, "champion").semver == before["active_version"]
    assert registry.get(MODEL, version).status is ModelStatus.FAILED
    events = live.container.events
    taken_back = [e for e in events.recent(type=EventType.DEPLOYMENT) if "is rolled back" in e.message]
    assert taken_back[0].severity == "critical"
    assert any("canary_rollout" in e.message for e in events.recent(type=EventType.ALERT))


def test_a_version_that_failed_is_refused(live: Live) -> None:
    failed = next(v for v in live.container.registry.list(MODEL) if v.status is ModelStatus.FAILED)
    code, _, errors = live.command("autotrader.deployment.deploy", "--version", failed.semver)
    assert code == 4
    assert "failed" in errors


def test_a_rollout_by_command_survives_a_controller_that_is_killed(
    live: Live, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, begun, errors = live.command(
        "autotrader.deployment.deploy", "--version", second, "--profile", "fast", "--no-wait"
    )
    assert code == 0, errors
    code, _, errors = live.command("autotrader.deployment.deploy", "--version", "latest", "--no-wait")
    assert code == 4
    assert "expected no rollout under way" in errors
    live.wait_for_stage(Stage.CANARY)
    table = services.table(live.settings)
    controller = table.process(services.CONTROLLER)
    assert controller is not None
    controller.kill()
    controller.wait(60)
    for name, value in live.environment.items():
        monkeypatch.setenv(name, value)
    services.start_controller(live.settings)
    live.wait_until_over()
    rollout = live.container.deployment_records.find(begun["rollout"])
    assert rollout.state is RolloutState.COMPLETED, rollout
    assert live.status()["active_version"] == second


def test_emergency_rollback_returns_within_a_second_and_can_be_rolled_back(live: Live, second: str) -> None:
    first = live.summary["semver"]
    seconds = []
    for expected in (first, second, first):
        bad = live.status()["active_version"]
        code, done, errors = live.command(
            "autotrader.deployment.emergency_rollback", "--version", bad, "--reason", "a rehearsal"
        )
        assert code == 0, errors
        assert done["live"] == expected, done
        seconds.append(done["seconds"])
        status = live.status()
        assert status["active_version"] == expected
        assert len({r["color"] for r in status["routes"]}) == 1
        assert live.container.registry.get(MODEL, "champion").semver == expected
    assert min(seconds) < 1.0, seconds  # the machine may have other things to do now and then


def test_a_version_comes_up_by_hand_and_takes_traffic_by_hand(live: Live, second: str) -> None:
    blue_green = "autotrader.deployment.blue_green."
    live_color = live.status()["active_color"]
    other = Color(live_color).other.value
    switch = (f"{blue_green}switch_traffic", "--from-env", live_color, "--to-env", other)
    code, _, errors = live.command(*switch)
    assert code == 0, errors
    assert live.status()["active_version"] == second
    code, _, errors = live.command(*switch)
    assert code == 0, errors  # it is so already


def test_a_service_that_is_killed_is_up_again_soon(live: Live) -> None:
    color = Color(live.status()["active_color"])
    killed = live.serving(color)
    killed.kill()
    killed.wait(60)
    deadline = time.monotonic() + 120
    while not (health := live.status()["health"].get(color.value)) or not health["ready"]:
        assert time.monotonic() < deadline, health
        time.sleep(0.5)


def test_only_who_has_the_token_is_answered(live: Live) -> None:
    status = live.status()
    endpoint = status["slots"][status["active_color"]]["endpoint"]
    answer = httpx.post(f"{endpoint}/predict", json={}, timeout=60, trust_env=False)
    assert answer.status_code == 401
    headers = {"Authorization": f"Bearer {serving_token(live.settings)}"}
    answer = httpx.post(f"{endpoint}/predict", json={}, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 422
