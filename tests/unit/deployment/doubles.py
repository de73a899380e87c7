"""A deployment without processes: a clock that tests move, colours that do as told, and scripted work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

from autotrader.config.settings import DeploymentSettings
from autotrader.deployment.controller import Controller, StageResult
from autotrader.deployment.projection import Projection
from autotrader.deployment.transitions import Scope
from autotrader.domain.errors import AutotraderError
from autotrader.domain.rollout import Color, Outcome
from autotrader.ports.deployment import Release, Rollout, Slot, SlotHealth, SlotState
from autotrader.ports.registry import ModelCandidate, ModelStatus
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.fakes.events import InMemoryEventLog
from tests.fakes.registry import InMemoryRegistry

MODEL = "autotrader-strategy"
INSTRUMENTS = tuple(
    f"binance:{s}" for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ARBUSDT", "BNBUSDT", "XRPUSDT")
)
STRATEGY = Scope(INSTRUMENTS, ("BTCUSDT", "ETHUSDT"))
PASSED = StageResult(Outcome.PASS, "all good")


class MovedClock:
    """Time that stands until a test moves it; the wall's may be set `ahead`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime(2024, 3, 1, tzinfo=UTC) + timedelta(seconds=self.seconds + self.ahead)

    def monotonic(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        self.seconds += seconds


class ToldTarget:
    """Colours that run what they were told to, at once.

    While `broken`, no change is taken; while `stuck`, the front door stays as it is seen. What `meanwhile`
    holds for a method is done once, within its next call.
    """

    def __init__(self) -> None:
        self.running: dict[Color, str] = {}
        self.shown: Color | None = None
        self.broken: AutotraderError | None = None
        self.stuck: AutotraderError | None = None
        self.meanwhile: dict[str, Callable[[], object]] = {}

    def start(self, color: Color, release: Release) -> str:
        self._let_happen("start")
        self.running[color] = release.version
        return f"http://127.0.0.1/{color.value}"

    def health(self, color: Color) -> SlotHealth:
        version = self.running.get(color)
        self._let_happen("health")
        return SlotHealth(version is not None, version is not None, version, "as told")

    def _let_happen(self, what: str) -> None:
        self.meanwhile.pop(what, lambda: None)()

    def stop(self, color: Color) -> None:
        if self.broken:
            raise self.broken
        self._let_happen("stop")
        self.running.pop(color, None)

    def sends_elsewhere(self, color: Color) -> str | None:
        if self.broken:
            raise self.broken
        return None if self.shown is color else str(self.shown)

    def point(self, color: Color) -> None:
        if self.stuck:
            raise self.stuck
        self.shown = color


class ScriptedWork:
    """Stage work that does as told, and starts the colour as the real one does."""

    def __init__(self, records: InMemoryDeploymentRecords, target: ToldTarget, clock: MovedClock) -> None:
        self._records, self._target, self._clock = records, target, clock
        self.checks: StageResult | Exception | None = PASSED
        self.up: StageResult | Exception | None = PASSED
        self.tests: StageResult | Exception | None = PASSED
        self.is_busy = False

    def pre_deploy_checks(self, rollout: Rollout) -> StageResult | None:
        return _said(self.checks)

    def deploy(self, rollout: Rollout) -> StageResult | None:
        result = _said(self.up)
        if result is PASSED:
            release = Release(MODEL, rollout.version, "", "digest", "balanced-v1")
            endpoint = self._target.start(rollout.candidate, release)
            slot = Slot(
                rollout.candidate,
                SlotState.READY,
                rollout.version,
                "digest",
                endpoint,
                "up",
                self._clock.now(),
                "controller",
            )
            self._records.set_slot(slot)
        return result

    def revive(self, slot: Slot) -> None:
        assert slot.version is not None
        self._target.start(slot.color, Release(MODEL, slot.version, "", "digest", "balanced-v1"))

    def integration_tests(self, rollout: Rollout) -> StageResult | None:
        return _said(self.tests)


class ScriptedWatch:
    """A watch that sees what it is told to see."""

    def __init__(self) -> None:
        self.sees: StageResult | Exception = PASSED
        self.looks = 0

    def look(self, rollout: Rollout, *, final: bool) -> StageResult:
        self.looks += 1
        seen = _said(self.sees)
        assert seen is not None
        return seen

    def end(self) -> None:
        pass


class Deployment:
    """All of it, with a controller that can be replaced as after a crash."""

    def __init__(self, versions: int = 3, registry: InMemoryRegistry | None = None) -> None:
        self.clock = MovedClock()
        self.events = InMemoryEventLog()
        self.records = InMemoryDeploymentRecords(MODEL, self.events)
        self.registry = registry or InMemoryRegistry(self.events)
        self.target = ToldTarget()
        self.work = ScriptedWork(self.records, self.target, self.clock)
        self.watch = ScriptedWatch()
        self.settings = DeploymentSettings()
        self.versions = [_register(self.registry, n) for n in range(versions)]
        self.restart()

    def restart(self) -> None:
        """A new controller that knows nothing."""
        self.projection = Projection(
            self.records, self.registry, self.clock, target=self.target, model=MODEL, events=self.events
        )
        self.control()

    def control(self) -> None:
        """A new controller, with the projection that there is."""
        self.controller = Controller(
            records=self.records,
            target=self.target,
            work=self.work,
            watch=self.watch,
            projection=self.projection,
            clock=self.clock,
            strategy=STRATEGY,
            settings=self.settings,
        )

    def run(self, ticks: int = 200, seconds: float = 1.0) -> None:
        """Tick until nothing is under way."""
        for _ in range(ticks):
            self.controller.tick()
            if self.records.active() is None:
                return
            self.clock.move(seconds)

    def owners(self) -> dict[str, Color | None]:
        return {route.instrument: route.owner(self.clock.now()) for route in self.records.routes()}


def _register(registry: InMemoryRegistry, number: int) -> str:
    folder = Path(mkdtemp())
    onnx, native = folder / "model.onnx", folder / "model.txt"
    onnx.write_bytes(b"onnx %d" % number)
    native.write_bytes(b"native")
    version = registry.register(
        ModelCandidate(
            name=MODEL,
            training_key=f"key-{number}",
            onnx_path=onnx,
            native_path=native,
            feature_names=("a",),
            run_id=f"run-{number}",
            status=ModelStatus.CANDIDATE,
            reason="passed",
            tags={"git_sha": "0", "data_versions": "{}", "feature_set": "balanced-v1"},
        ),
        actor="test",
    )
    return version.semver


def _said(result: StageResult | Exception | None) -> StageResult | None:
    if isinstance(result, Exception):
        raise result
    return result
