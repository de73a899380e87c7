"""What the controller does before traffic: waits, starts again, and says what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from autotrader.access.sign_off import SignOff, SignOffState
from autotrader.apps.controller.preparation import AGAIN_SECONDS, Preparation
from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.deployment.checks.golden import read_golden
from autotrader.deployment.checks.pre_deploy import PreDeployReport
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import FAST, Color, Outcome, Stage
from autotrader.domain.verdicts import Finding, Severity, Verdict
from autotrader.ports.approvals import Subject
from autotrader.ports.deployment import Release, Rollout, SlotHealth, SlotState
from autotrader.ports.registry import ModelVersion
from tests.unit.deployment.doubles import MODEL, Deployment

FINE = PreDeployReport(Verdict("v1", (Finding("gates", Severity.HEALTHY, "passed"),)))
WAITS = PreDeployReport(
    FINE.verdict,
    sign_off=SignOff(
        Subject(MODEL, "v1", "0" * 64, "0" * 64), SignOffState.WAITING, (), "Risk has to sign", None, ()
    ),
)
NO_ROOM = PreDeployReport(Verdict("v1", (Finding("machine", Severity.CRITICAL, "no memory is free"),)))
BAD = PreDeployReport(Verdict("v1", (Finding("digests", Severity.CRITICAL, "expected abc, was def"),)))


@dataclass
class SlowTarget:
    """A colour that becomes ready, dies or serves something else, as it is told."""

    health_now: SlotHealth = field(default_factory=lambda: SlotHealth(False, False, None, "did not answer"))
    starts: list[str] = field(default_factory=list)

    def start(self, color: Color, release: Release) -> str:
        self.starts.append(release.version)
        return f"http://127.0.0.1:{len(self.starts)}"

    def health(self, color: Color) -> SlotHealth:
        return self.health_now

    def stop(self, color: Color) -> None:
        raise AssertionError("nobody asked for that")


@dataclass
class Scene:
    """A rollout at its first stage, and who prepares it."""

    world: Deployment
    rollout: Rollout
    target: SlowTarget
    reports: list[PreDeployReport]
    preparation: Preparation
    checked: int = 0


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    world = Deployment(versions=1)
    rollout = requests.begin(
        world.records,
        strategy_id=MODEL,
        version=world.versions[0],
        profile=FAST,
        goal=Stage.FINALIZE,
        reason="test",
        actor="tester",
        now=world.clock.now(),
    )
    target, reports = SlowTarget(), [FINE]

    def checks(rollout: Rollout, folder: Path) -> PreDeployReport:
        made.checked += 1
        return reports[0]

    def prepare(version: ModelVersion) -> Release:
        return Release(version.name, version.semver, str(tmp_path), version.onnx_sha256, "balanced-v1")

    preparation = Preparation(
        settings=Settings(home=tmp_path),
        records=world.records,
        registry=world.registry,
        target=target,
        prepare=prepare,
        checks=checks,
        golden=lambda folder, *_: read_golden(folder),
        token="token",
        clock=world.clock,
    )
    made = Scene(world, rollout, target, reports, preparation)
    return made


def test_checks_pass_or_fail_with_their_reason(scene: Scene) -> None:
    passed = scene.preparation.pre_deploy_checks(scene.rollout)
    assert passed is not None
    assert passed.outcome is Outcome.PASS
    scene.reports[0] = BAD
    failed = scene.preparation.pre_deploy_checks(scene.rollout)
    assert failed is not None
    assert (failed.outcome, failed.reason, failed.is_faulty) == (Outcome.FAIL, "expected abc, was def", True)
    scene.reports[0] = NO_ROOM
    failed = scene.preparation.pre_deploy_checks(scene.rollout)
    assert failed is not None
    assert (failed.outcome, failed.is_faulty) == (Outcome.FAIL, False)


def test_while_people_have_to_sign_the_stage_waits_and_looks_again_now_and_then(scene: Scene) -> None:
    scene.reports[0] = WAITS
    for _ in range(5):
        assert scene.preparation.pre_deploy_checks(scene.rollout) is None
        scene.world.clock.move(1)
    assert scene.checked == 1
    scene.reports[0] = FINE
    scene.world.clock.move(AGAIN_SECONDS)
    assert scene.preparation.pre_deploy_checks(scene.rollout) is not None


def test_a_colour_is_started_once_and_passes_when_it_is_ready(scene: Scene) -> None:
    assert scene.preparation.deploy(scene.rollout) is None
    slot = scene.world.records.slots()[Color.BLUE]
    assert (slot.state, slot.version) == (SlotState.STARTING, scene.rollout.version)
    scene.world.clock.move(1)
    assert scene.preparation.deploy(scene.rollout) is None
    scene.target.health_now = SlotHealth(True, True, scene.rollout.version, "ready", 90_000_000)
    passed = scene.preparation.deploy(scene.rollout)
    assert passed is not None
    assert passed.outcome is Outcome.PASS
    assert scene.world.records.slots()[Color.BLUE].state is SlotState.READY
    assert scene.target.starts == [scene.rollout.version]


@pytest.mark.parametrize("answers", [False, True])
def test_a_colour_that_is_never_ready_fails_after_the_settings_time_with_its_last_words(
    scene: Scene, answers: bool
) -> None:
    """What never answered may have had no room; what answered as itself is at fault."""
    if answers:
        scene.target.health_now = SlotHealth(True, False, scene.rollout.version, "cannot predict")
    for _ in range(301):
        result = scene.preparation.deploy(scene.rollout)
        scene.world.clock.move(1)
    result = scene.preparation.deploy(scene.rollout)
    assert result is not None
    assert (result.outcome, result.reason, result.is_faulty) == (
        Outcome.FAIL,
        f"not ready on blue within 300 s: {'cannot predict' if answers else 'did not answer'}",
        answers,
    )


def test_one_that_dies_while_it_starts_is_started_again_in_time(scene: Scene) -> None:
    for _ in range(12):
        scene.preparation.deploy(scene.rollout)
        scene.world.clock.move(1)
    assert 2 <= len(scene.target.starts) <= 4
    endpoint = f"http://127.0.0.1:{len(scene.target.starts)}"
    assert scene.world.records.slots()[Color.BLUE].endpoint == endpoint


def test_another_version_on_the_colour_is_not_taken_for_it(scene: Scene) -> None:
    scene.preparation.deploy(scene.rollout)
    scene.target.health_now = SlotHealth(True, True, "v9.9.9", "ready")
    assert scene.preparation.deploy(scene.rollout) is None  # what it replaces may answer for a while
    scene.world.clock.move(301)
    result = scene.preparation.deploy(scene.rollout)
    assert result is not None
    assert result.outcome is Outcome.FAIL
    assert f"expected {scene.rollout.version}, was v9.9.9" in result.reason


def test_integration_tests_need_an_endpoint_and_golden_predictions(scene: Scene) -> None:
    with pytest.raises(BadData, match="expected an endpoint of blue"):
        scene.preparation.integration_tests(scene.rollout)
    scene.preparation.deploy(scene.rollout)
    with pytest.raises(BadData, match="golden predictions"):
        scene.preparation.integration_tests(scene.rollout)


def test_what_died_is_started_with_the_version_that_is_recorded(scene: Scene) -> None:
    scene.preparation.deploy(scene.rollout)
    slot = scene.world.records.slots()[Color.BLUE]
    scene.preparation.revive(slot)
    assert scene.target.starts == [scene.rollout.version] * 2
    assert "it had died" in scene.world.records.slots()[Color.BLUE].reason


def test_what_is_changed_of_a_colour_while_it_is_started_again_is_kept(scene: Scene) -> None:
    records, later = scene.world.records, scene.world.clock.now() + timedelta(hours=24)
    scene.preparation.deploy(scene.rollout)
    seen = records.slots()[Color.BLUE]
    records.set_slot(replace(seen, warm_until=later))
    scene.preparation.revive(seen)
    revived = records.slots()[Color.BLUE]
    assert (revived.endpoint, revived.warm_until) == ("http://127.0.0.1:2", later)
    records.set_slot(replace(revived, state=SlotState.STOPPING))
    scene.preparation.revive(revived)
    assert records.slots()[Color.BLUE] == replace(revived, state=SlotState.STOPPING)


def test_a_colour_that_was_being_stopped_is_started_anew(scene: Scene) -> None:
    records = scene.world.records
    scene.preparation.deploy(scene.rollout)
    records.set_slot(replace(records.slots()[Color.BLUE], state=SlotState.STOPPING))
    assert scene.preparation.deploy(scene.rollout) is None
    assert (records.slots()[Color.BLUE].state, len(scene.target.starts)) == (SlotState.STARTING, 2)
