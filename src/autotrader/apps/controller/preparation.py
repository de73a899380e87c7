"""The stages before traffic: checks, the colour up, its integration tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from autotrader.config.settings import Settings
from autotrader.deployment.checks.golden import Golden
from autotrader.deployment.checks.integration import run_integration_tests
from autotrader.deployment.checks.pre_deploy import MODEL_FILE, PreDeployReport
from autotrader.deployment.checks.probes import Load
from autotrader.deployment.controller import ACTOR, StageResult
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import Outcome
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import (
    DeploymentRecords,
    DeploymentTarget,
    Release,
    Rollout,
    Slot,
    SlotState,
)
from autotrader.ports.registry import ModelRegistry, ModelVersion

# While people still have to sign, the checks are run again this often.
AGAIN_SECONDS = 30.0
# A colour that dies before it is ready is started again this often, until its time is over.
RESTART_SECONDS = 5.0


class PreDeployChecks(Protocol):
    """`autotrader.deployment.checks.pre_deploy.pre_deploy_checks` with its ports."""

    def __call__(self, rollout: Rollout, folder: Path) -> PreDeployReport: ...


class GoldenPredictions(Protocol):
    """`autotrader.deployment.checks.asking.golden_of` with its ports."""

    def __call__(self, folder: Path, version: ModelVersion, path: Path) -> Golden: ...


class Preparation:
    """Does the work of the stages before traffic, each again after a crash.

    Parameters
    ----------
    prepare : Callable
        Makes a version ready to serve on this target.
    token : str
        That callers authenticate with.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        records: DeploymentRecords,
        registry: ModelRegistry,
        target: DeploymentTarget,
        prepare: Callable[[ModelVersion], Release],
        checks: PreDeployChecks,
        golden: GoldenPredictions,
        token: str,
        clock: WallClock,
    ) -> None:
        self._settings = settings
        self._records = records
        self._registry = registry
        self._target = target
        self._prepare = prepare
        self._checks = checks
        self._golden = golden
        self._token = token
        self._clock = clock
        self._next_checks = 0.0
        self._next_start = 0.0

    def pre_deploy_checks(self, rollout: Rollout) -> StageResult | None:
        """None while people still have to sign."""
        if self._clock.monotonic() < self._next_checks:
            return None
        report = self._checks(rollout, self._golden_folder(rollout))
        if report.outcome is Outcome.INCONCLUSIVE:
            self._next_checks = self._clock.monotonic() + AGAIN_SECONDS
            return None
        self._next_checks = 0.0
        return StageResult(report.outcome, report.reason, report.evidence, report.is_faulty)

    def deploy(self, rollout: Rollout) -> StageResult | None:
        """Start the candidate's colour, and wait for it as long as the settings allow."""
        color, now = rollout.candidate, self._clock.now()
        slot = self._records.slots().get(color)
        if slot is None or slot.version != rollout.version or slot.state is SlotState.STOPPING:
            release = self._release(rollout)
            endpoint = self._target.start(color, release)
            self._next_start = self._clock.monotonic() + RESTART_SECONDS
            self._set(rollout, SlotState.STARTING, release, endpoint, "is being started")
            return None
        health = self._target.health(color)
        waited = (now - rollout.stage_since).total_seconds()
        if health.ready and health.version == rollout.version:
            release = self._release(rollout)
            self._set(rollout, SlotState.READY, release, slot.endpoint, f"ready after {waited:.1f} s")
            evidence = {"endpoint": slot.endpoint, "memory_bytes": health.memory_bytes}
            return StageResult(Outcome.PASS, f"ready on {color.value} after {waited:.1f} s", evidence)
        if waited > self._settings.deployment.ready_seconds:
            bound = self._settings.deployment.ready_seconds
            is_another = health.version not in (None, rollout.version)
            another = f"expected {rollout.version}, was {health.version}: " if is_another else ""
            return StageResult(
                Outcome.FAIL,
                f"not ready on {color.value} within {bound:g} s: {another}{health.reason}",
                # Of one that never answered, nothing is known but that its model loads, as checked before:
                # it may have had no room, no image or no network.
                is_faulty=health.version == rollout.version,
            )
        if self._clock.monotonic() >= self._next_start:  # does nothing unless it died
            self._next_start = self._clock.monotonic() + RESTART_SECONDS
            release = self._release(rollout)
            endpoint = self._target.start(color, release)
            if endpoint != slot.endpoint:  # it died since its port was taken, and has another now
                self._set(rollout, SlotState.STARTING, release, endpoint, "is being started again")
        return None

    def integration_tests(self, rollout: Rollout) -> StageResult | None:
        """Ask it what callers will ask, and what they must not."""
        slot = self._records.slots().get(rollout.candidate)
        if slot is None or slot.endpoint is None:
            raise BadData(f"expected an endpoint of {rollout.candidate.value}, was none recorded")
        version = self._registry.get(rollout.strategy_id, rollout.version)
        release = self._prepare(version)
        report = run_integration_tests(
            slot.endpoint,
            self._token,
            release=release,
            color=rollout.candidate,
            golden=self._golden(self._golden_folder(rollout), version, Path(release.folder) / MODEL_FILE),
            load=Load(max_rows=self._settings.serving.max_rows),
        )
        return StageResult(report.outcome, report.reason, report.evidence)

    def revive(self, slot: Slot) -> None:
        if slot.version is None:
            return
        version = self._registry.get(self._settings.strategy.strategy_id, slot.version)
        endpoint = self._target.start(slot.color, self._prepare(version))
        now = self._clock.now()
        reason = f"started again at {now:%F %T} UTC: it had died"
        stands: Slot | None = slot
        while stands is not None and (stands.state, stands.version) == (slot.state, slot.version):
            revived = replace(stands, endpoint=endpoint, reason=reason, changed_at=now, changed_by=ACTOR)
            if self._records.replace_slot(stands, revived):
                return
            stands = self._records.slots().get(slot.color)

    @property
    def is_busy(self) -> bool:
        """Never once a call has returned."""
        return False

    def _release(self, rollout: Rollout) -> Release:
        return self._prepare(self._registry.get(rollout.strategy_id, rollout.version))

    def _golden_folder(self, rollout: Rollout) -> Path:
        return self._settings.home.resolve() / "deployment" / "checks" / rollout.version

    def _set(
        self, rollout: Rollout, state: SlotState, release: Release, endpoint: str | None, reason: str
    ) -> None:
        self._records.set_slot(
            Slot(
                color=rollout.candidate,
                state=state,
                version=rollout.version,
                onnx_sha256=release.onnx_sha256,
                endpoint=endpoint,
                reason=reason,
                changed_at=self._clock.now(),
                changed_by=ACTOR,
            )
        )
