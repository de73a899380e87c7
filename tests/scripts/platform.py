"""A deployment on this machine for scripts to act on: real records, registry, processes and controller.

Only what serves is a stand-in (`tests/fakes/deployment_server`), and MLflow.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.local_target import LocalTarget
from autotrader.adapters.mlflow_registry import MlflowRegistry
from autotrader.config.settings import Settings
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.deployment import requests
from autotrader.deployment.controller import Controller, StageResult
from autotrader.deployment.projection import Projection
from autotrader.deployment.switching import Switching, scope_of
from autotrader.domain.errors import Unreachable
from autotrader.domain.rollout import DIRECT, Color, Outcome, Profile, Stage
from autotrader.ports.deployment import Release, Rollout, Slot, SlotState
from autotrader.ports.registry import Alias, ModelStatus
from tests.fakes import deployment_server
from tests.fakes.mlflow_server import StandInMlflow, serve
from tests.models import candidate
from tests.services import free_port, fresh_database

ROOT = Path(__file__).resolve().parents[2]
STRATEGY = "autotrader-strategy"
SERVER = (sys.executable, "-S", str(Path(deployment_server.__file__)))
PASSED = StageResult(Outcome.PASS, "all good")
TICK_SECONDS = 0.05
START_SECONDS = 60


def run_script(
    name: str,
    *words: str,
    typed: str = "",
    timeout: float = 280,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """A script as an operator runs it; `environment` is added to this process's."""
    return subprocess.run(
        [ROOT / "scripts" / name, *words],
        input=typed, capture_output=True, text=True, check=False, timeout=timeout,
        env={**os.environ, "AUTOTRADER_PYTHON": sys.executable, **(environment or {})},
    )  # fmt: skip


def operations(home: Path) -> list[Path]:
    """What scripts left of themselves, oldest first."""
    return sorted(path for path in (home / "operations").glob("*") if path.is_dir())


@dataclass
class Work:
    """What the controller does in a colour; a version may be told never to become ready."""

    records: SqlDeploymentRecords
    target: LocalTarget
    folder: Path
    behaviour: dict[str, dict[str, float]] = field(default_factory=dict)
    ready_seconds: float = 20.0
    is_busy: bool = False

    def pre_deploy_checks(self, rollout: Rollout) -> StageResult | None:
        return PASSED

    def deploy(self, rollout: Rollout) -> StageResult | None:
        health = self.target.health(rollout.candidate)
        if health.ready and health.version == rollout.version:
            return PASSED
        waited = (datetime.now(UTC) - rollout.stage_since).total_seconds()
        if waited > self.ready_seconds:
            return StageResult(Outcome.FAIL, f"not ready within {self.ready_seconds:g} s: {health.reason}")
        self.start(rollout.candidate, rollout.version)
        return None

    def integration_tests(self, rollout: Rollout) -> StageResult | None:
        return PASSED

    def revive(self, slot: Slot) -> None:
        assert slot.version is not None
        self.start(slot.color, slot.version)

    def start(self, color: Color, version: str) -> None:
        release = self.folder / version
        deployment_server.write_release(release, version, **self.behaviour.get(version, {}))
        endpoint = self.target.start(
            color, Release(STRATEGY, version, str(release), "ab" * 32, "balanced-v1")
        )
        self.record(color, version, endpoint)

    def record(self, color: Color, version: str, endpoint: str) -> None:
        now = datetime.now(UTC)
        self.records.set_slot(Slot(color, SlotState.READY, version, None, endpoint, "up", now, "test"))


class Watch:
    """Sees nothing that would hold a rollout up."""

    def look(self, rollout: Rollout, *, final: bool) -> StageResult:
        return PASSED

    def end(self) -> None:
        pass


class Platform:
    """v1.0.0 was live on blue, v1.1.0 is live on green, blue is kept warm; v1.2.0 waits.

    v1.3.0 was rejected by its gates.
    """

    def __init__(self, home: Path, mlflow: StandInMlflow, uri: str) -> None:
        self.home = home
        self.mlflow = mlflow
        self.settings = Settings()
        engine = open_database(self.settings.database_url)
        self.records = SqlDeploymentRecords(engine, STRATEGY)
        self.events = SqlEventLog(engine)
        self.registry = MlflowRegistry(uri, engine, self.events, SystemWallClock())
        self.target = LocalTarget(self.settings, command=SERVER)
        self.work = Work(self.records, self.target, home / "made")
        statuses = [ModelStatus.CANDIDATE] * 3 + [ModelStatus.REJECTED]
        self.versions = [
            self.registry.register(
                candidate(home / "candidates", f"key-{n}", mlflow.make_run(), status=status), actor="test"
            ).semver
            for n, status in enumerate(statuses)
        ]
        for color, version in zip(Color, self.versions, strict=False):
            self.work.start(color, version)
            self._make_live(version)
        self._projection().converge(now=True)
        # What is recorded as ready is: one that is still starting would be waited for by a controller.
        deadline = time.monotonic() + START_SECONDS
        while not all(self.target.health(color).ready for color in Color):
            assert time.monotonic() < deadline, [self.target.health(color) for color in Color]
            time.sleep(TICK_SECONDS)

    def begin(
        self, version: str, profile: Profile = DIRECT, goal: Stage = Stage.FINALIZE, **more: object
    ) -> Rollout:
        return requests.begin(
            self.records,
            strategy_id=STRATEGY,
            version=version,
            profile=profile,
            goal=goal,
            reason="test",
            actor="test",
            now=datetime.now(UTC),
            **more,  # type: ignore[arg-type]
        )

    def live(self) -> tuple[str, Color, set[Color]]:
        """Recorded version and colour, and who owns the instruments."""
        found = self.records.live()
        assert found is not None
        owners = {route.owner(datetime.now(UTC)) for route in self.records.routes()}
        return found.version, found.candidate, {o for o in owners if o is not None}

    def champion(self) -> str:
        return self.registry.get(STRATEGY, Alias.CHAMPION).semver

    def running(self) -> dict[str, str | None]:
        return {color.value: self.target.health(color).version for color in Color}

    @contextlib.contextmanager
    def controller(self) -> Iterator[None]:
        """A controller at work, as a thread."""
        stop = threading.Event()
        controller = Controller(
            records=self.records,
            target=self.target,
            work=self.work,
            watch=Watch(),
            projection=self._projection(),
            clock=SystemWallClock(),
            strategy=scope_of(self.settings),
            settings=self.settings.deployment,
        )

        def work() -> None:
            while not stop.is_set():
                with contextlib.suppress(Unreachable):  # as its process does
                    controller.tick()
                stop.wait(TICK_SECONDS)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def close(self) -> None:
        for color in Color:
            self.target.stop(color)

    def _make_live(self, version: str) -> None:
        begun = self.begin(version, first=Stage.FINALIZE)
        Switching(self.settings, self.records, self.target, SystemWallClock()).finish(begun, actor="test")

    def _projection(self) -> Projection:
        return Projection(self.records, self.registry, SystemWallClock(), target=self.target, model=STRATEGY)


@contextlib.contextmanager
def platform(home: Path, environment: dict[str, str], patch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """The platform; its settings, and those that are given, are set in this process's environment.

    By the patch that the test itself uses, where it does: of two, the one undone last would bring back what
    the other had set.
    """
    mlflow = StandInMlflow()
    home.mkdir(parents=True)
    with serve(mlflow) as uri:
        environment = environment | {
            "AUTOTRADER_DATABASE__URL": fresh_database("sqlite", home),
            "AUTOTRADER_MLFLOW__TRACKING_URI": uri,
            "AUTOTRADER_SERVING__BLUE_PORT": str(free_port()),
            "AUTOTRADER_SERVING__GREEN_PORT": str(free_port()),
            "AUTOTRADER_SERVING__DRAIN_SECONDS": "0.5",
            "AUTOTRADER_LOG__FORMAT": "json",
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        made = Platform(home, mlflow, uri)
        try:
            yield made
        finally:
            made.close()


def killing_python(folder: Path, when: str, module: str) -> Path:
    """A Python whose caller is killed before or after it runs this module, but for a dry run of it."""
    path = folder / f"python-{when}-{module}"
    kill = "kill -9 $(ps -o ppid= -p $PPID)"  # of the `timeout` that is between us and the script
    path.write_text(
        f"""#!/usr/bin/env bash
if [ "$2" != {module} ] || [[ " $* " = *" --dry-run "* ]]; then exec {sys.executable} "$@"; fi
if [ {when} = before ]; then {kill}; exit 1; fi
{sys.executable} "$@"
code=$?
{kill}
exit $code
"""
    )
    path.chmod(0o755)
    return path


def waiting_python(folder: Path, module: str, go_on: Path) -> Path:
    """A Python that waits for that file before it runs this module."""
    path = folder / f"python-waiting-{module}"
    path.write_text(
        f"""#!/usr/bin/env bash
if [ "$2" = {module} ]; then until [ -e {go_on} ]; do sleep 0.1; done; fi
exec {sys.executable} "$@"
"""
    )
    path.chmod(0o755)
    return path
