"""A version is deployed only if everything that can be known before says that it may be."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from autotrader.access.sign_off import SignOffState, decide, subject_of
from autotrader.command import to_plain
from autotrader.config.settings import Environment
from autotrader.deployment.checks import footprint, pre_deploy
from autotrader.deployment.checks.footprint import (
    Footprint,
    check_footprint,
    check_machine,
    measure_footprint,
)
from autotrader.deployment.checks.golden import read_golden
from autotrader.deployment.checks.live_features import check_freshness
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.rollout import Outcome
from autotrader.domain.thresholds import DEPLOYMENT_CHECKS
from autotrader.domain.verdicts import Severity
from autotrader.features.definitions import BALANCED
from autotrader.ports.approvals import Decision, Role
from autotrader.ports.registry import ModelStatus
from autotrader.ports.tokens import Identity, Scope
from autotrader.registry.onnx_model import OnnxModel
from tests.fakes.clocks import LiveAt
from tests.fakes.small_market import NOW
from tests.unit.deployment.checks.platform import (
    INSTRUMENTS,
    METADATA,
    NAME,
    WALL,
    Desk,
    Stores,
    finding,
    model_bytes,
)

SMALL = Footprint(load_seconds=0.01, memory_bytes=2**20, p50_seconds=1e-5, p99_seconds=2e-5)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a process for each of the tests that are about something else."""
    monkeypatch.setattr(pre_deploy, "measure_footprint", lambda *_: SMALL)


def test_a_sound_version_passes_every_check_and_gets_golden_predictions(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_pace = replace(DEPLOYMENT_CHECKS, row_p99_seconds=60)  # a machine may be busy
    monkeypatch.setattr(footprint, "DEPLOYMENT_CHECKS", any_pace)
    version = desk.register()
    report = desk.check("1")
    assert (report.outcome, report.reason) == (Outcome.PASS, "11 checks passed")
    assert report.version == version
    assert {f.severity for f in report.verdict.findings} == {Severity.HEALTHY}
    assert report.sign_off is None
    golden = read_golden(desk.folder / "release")
    assert (golden.version, golden.onnx_sha256) == ("v1.0.0", version.onnx_sha256)
    assert {row.instrument for row in golden.rows} == set(map(str, INSTRUMENTS))
    assert len(golden.rows) == 64
    rows = np.array([row.row for row in golden.rows], np.float32)
    offline = OnnxModel(desk.folder / "release" / "model.onnx").probabilities(rows)
    assert np.array_equal(offline, [row.probabilities for row in golden.rows])
    assert 0 < report.evidence["latency"]["p99_seconds"] < 60  # type: ignore[index]
    json.dumps(report.evidence, allow_nan=False)


def test_a_version_that_does_not_exist_is_a_finding(desk: Desk) -> None:
    report = desk.check("v9.0.0")
    assert (report.outcome, report.version) == (Outcome.FAIL, None)
    assert "v9.0.0" in report.reason


@pytest.mark.parametrize("status", [ModelStatus.REJECTED, ModelStatus.CANDIDATE])
def test_a_version_that_failed_its_gates_or_later_is_refused(
    desk: Desk, unmeasured: None, status: ModelStatus
) -> None:
    desk.register(status=status)
    if status is ModelStatus.CANDIDATE:
        desk.registry.set_status(NAME, "v1.0.0", ModelStatus.FAILED, reason="it lost money", actor="ops")
    report = desk.check()
    assert report.outcome is Outcome.FAIL
    assert f"v1.0.0 must not serve: it is {'rejected' if status else ''}"[:28] in report.reason


@pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
def test_what_only_the_gates_of_dev_judged_goes_no_further_than_dev(
    desk: Desk, unmeasured: None, environment: Environment
) -> None:
    desk.register()
    desk.environment = environment
    report = desk.check()
    assert report.outcome is Outcome.FAIL
    assert "judged in dev" in finding(report, "gates").reason
    assert report.sign_off is None, "nobody is asked to sign what may not go"
    desk.register(model_bytes(metadata=METADATA | {"training_key": "training-key-1"}), environment="staging")
    report = desk.check("v1.1.0")
    assert finding(report, "gates").severity is Severity.HEALTHY


def test_an_artefact_with_another_digest_is_refused(desk: Desk, unmeasured: None) -> None:
    desk.register()
    desk.registry.artifacts[NAME, "v1.0.0", "model.onnx"] = model_bytes(seed=8)
    report = desk.check()
    assert finding(report, "digests").severity is Severity.CRITICAL
    assert report.golden_path is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"training_key": "another"}, "expected training_key training-key of the registry, was another"),
        ({"feature_set": "other-v9"}, "expected feature_set balanced-v1 of the registry, was other-v9"),
    ],
)
def test_a_file_that_says_it_is_another_model_is_refused(
    desk: Desk, unmeasured: None, changed: dict[str, str], said: str
) -> None:
    desk.register(model_bytes(metadata=METADATA | changed))
    assert said in finding(desk.check(), "digests").reason


def test_a_file_that_is_no_model_is_refused(desk: Desk) -> None:
    desk.register(b"not a model")
    report = desk.check()
    assert (report.outcome, finding(report, "digests").severity) == (Outcome.FAIL, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("names", "severity", "said"),
    [
        ((*BALANCED.names[:-1], "magic"), Severity.CRITICAL, "was magic"),
        (tuple(reversed(BALANCED.names)), Severity.CRITICAL, "in the set's order"),
        ((*BALANCED.names, "rsi_14"), Severity.CRITICAL, "was rsi_14 as input 42"),
        (BALANCED.names[1:], Severity.WARNING, "without rsi_14, which these venues have"),
    ],
)
def test_inputs_are_the_features_of_the_set(
    desk: Desk, unmeasured: None, names: tuple[str, ...], severity: Severity, said: str
) -> None:
    desk.register(model_bytes(names))
    report = desk.check()
    found = finding(report, "signature")
    assert (found.severity, said in found.reason) == (severity, True), found.reason
    assert (report.golden_path is None) is (severity is Severity.CRITICAL)


def test_a_feature_set_that_the_store_does_not_hold_is_refused(desk: Desk, unmeasured: None) -> None:
    desk.register(feature_set="balanced-v2")
    assert "expected the feature set balanced-v2" in finding(desk.check(), "signature").reason


@pytest.mark.parametrize(
    ("behind", "severity", "outcome"),
    [
        (timedelta(minutes=50), Severity.HEALTHY, Outcome.PASS),
        (timedelta(minutes=75), Severity.WARNING, Outcome.PASS),
        (timedelta(minutes=150), Severity.CRITICAL, Outcome.FAIL),
    ],
)
def test_features_behind_the_market_clock_hold_a_deployment_up(
    desk: Desk, unmeasured: None, behind: timedelta, severity: Severity, outcome: Outcome
) -> None:
    desk.register()
    desk.market_time += behind
    report = desk.check()
    assert (finding(report, "freshness").severity, report.outcome) == (severity, outcome)


@pytest.mark.parametrize(("hours", "severity"), [(3.9, Severity.HEALTHY), (28.1, Severity.CRITICAL)])
def test_live_a_deployment_is_held_up_by_a_data_run_that_did_not_deliver_not_by_the_hour(
    desk: Desk, hours: float, severity: Severity
) -> None:
    clock = LiveAt(NOW + timedelta(hours=hours))
    found = check_freshness(desk.stores.features, INSTRUMENTS, interval=Interval.M5, clock=clock)
    assert found.severity is severity, found.reason


def test_an_instrument_without_data_that_the_model_never_saw_is_refused(desk: Desk, unmeasured: None) -> None:
    desk.register()
    desk.symbols = (*desk.symbols, "SOLUSDT")
    report = desk.check()
    assert report.outcome is Outcome.FAIL
    assert "never saw binance:SOLUSDT" in finding(report, "instruments").reason
    assert "binance:SOLUSDT has no rows" in finding(report, "freshness").reason
    assert "binance:SOLUSDT has no bars" in finding(report, "parity").reason
    assert "of binance:SOLUSDT: run data_pipeline" in finding(report, "feature_rows").reason


def test_live_features_that_differ_from_the_batch_are_refused(
    desk: Desk, unmeasured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autotrader.features.live import LiveFeatures

    honest = LiveFeatures.update
    monkeypatch.setattr(LiveFeatures, "update", lambda *a: honest(*a) * np.float32(1.0001))
    desk.register()
    found = finding(desk.check(), "parity")
    assert found.severity is Severity.CRITICAL
    assert "binance:BTCUSDT: " in found.reason


@pytest.mark.parametrize("content", [model_bytes(last="Sigmoid"), model_bytes(outputs=2)])
def test_outputs_that_are_no_probabilities_are_refused(desk: Desk, unmeasured: None, content: bytes) -> None:
    desk.register(content)
    report = desk.check()
    assert finding(report, "predictions").severity is Severity.CRITICAL
    assert report.golden_path is None


def test_a_registry_that_does_not_answer_is_no_verdict(desk: Desk) -> None:
    desk.register()
    desk.registry.reachable = False
    with pytest.raises(Unreachable):
        desk.check()


# ------------------------------------------------------------------ what it costs


def test_a_slow_or_heavy_model_is_refused() -> None:
    slow = Footprint(0.1, 2**20, 1e-3, 0.02)
    heavy = Footprint(0.1, 200 * 2**20, 1e-5, 1e-4)
    assert [f.severity for f in check_footprint(slow)] == [Severity.CRITICAL, Severity.HEALTHY]
    assert [f.severity for f in check_footprint(heavy)] == [Severity.HEALTHY, Severity.CRITICAL]
    assert "200.0 MiB (bound 100 MiB)" in check_footprint(heavy)[1].reason


def test_a_model_that_cannot_be_run_in_a_process_of_its_own_says_why(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_bytes())
    with pytest.raises(BadData, match=r"was exit 1: .*INVALID_ARGUMENT"):
        measure_footprint(path, np.zeros((4, 3), np.float32))


@pytest.mark.parametrize(("memory", "disk"), [(2**20, 2**40), (2**40, 2**20)])
def test_a_full_machine_is_refused(memory: int, disk: int) -> None:
    assert check_machine(free_memory_bytes=2**40, free_disk_bytes=2**40).severity is Severity.HEALTHY
    assert check_machine(free_memory_bytes=memory, free_disk_bytes=disk).severity is Severity.CRITICAL


# ------------------------------------------------------------------ production


def sign(desk: Desk, name: str, role: Role, decision: Decision = Decision.APPROVE) -> None:
    decide(
        desk.approvals,
        subject_of(desk.registry.get(NAME, "v1.0.0")),
        role=role,
        decision=decision,
        reason="looked at it",
        identity=Identity(name, frozenset({Scope.APPROVE}), frozenset(Role)),
        now=desk.wall.now(),
    )


@pytest.fixture
def production(tmp_path: Path, stores: Stores, unmeasured: None) -> Desk:
    desk = Desk(tmp_path, stores, Environment.PRODUCTION)
    desk.register(environment="production", decision="awaiting_approval")
    return desk


def test_production_waits_for_two_sign_offs(production: Desk) -> None:
    report = production.check()
    assert (report.outcome, report.golden_path is None) == (Outcome.INCONCLUSIVE, False)
    assert report.reason == "waits for Quant Engineering and Risk until 2026-03-04 09:00 UTC"
    sign(production, "alice", Role.QUANT)
    assert production.check().outcome is Outcome.INCONCLUSIVE
    sign(production, "bob", Role.RISK)
    report = production.check()
    assert (report.outcome, report.reason) == (Outcome.PASS, "12 checks passed")
    assert to_plain(report.evidence["sign_offs"])["state"] == "approved"


def test_a_sign_off_that_is_refused_or_late_fails_and_a_new_deployment_asks_anew(production: Desk) -> None:
    production.check()
    sign(production, "alice", Role.QUANT, Decision.REJECT)
    refused = production.check()
    assert (refused.outcome, refused.is_faulty) == (Outcome.FAIL, False)
    production.wall.advance(timedelta(hours=1))
    assert production.check().outcome is Outcome.FAIL, "the same deployment asks only once"
    again = production.check(asked_at=production.wall.now())
    assert (again.outcome, again.sign_off and again.sign_off.state) == (
        Outcome.INCONCLUSIVE,
        SignOffState.WAITING,
    )
    production.wall.advance(timedelta(hours=73))
    late = production.check(asked_at=WALL + timedelta(hours=1))
    assert (late.outcome, late.sign_off and late.sign_off.state) == (Outcome.FAIL, SignOffState.EXPIRED)


def test_a_version_without_a_gate_report_cannot_be_signed(
    tmp_path: Path, stores: Stores, unmeasured: None
) -> None:
    desk = Desk(tmp_path, stores, Environment.PRODUCTION)
    desk.register(environment="production", gate_report_sha256="")
    report = desk.check()
    assert report.outcome is Outcome.FAIL
    assert "gate report" in report.reason
