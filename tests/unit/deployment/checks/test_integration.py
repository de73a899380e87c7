"""The probes pass on a service that keeps the contract, and see each way in which one does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotrader.deployment.checks.golden import Golden, make_golden, newest_samples, read_golden, write_golden
from autotrader.deployment.checks.integration import ProbeReport, ProbeResult, run_integration_tests
from autotrader.deployment.checks.probes import PROBES, Load
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import Color, Outcome
from autotrader.features.definitions import BALANCED
from autotrader.ports.deployment import Release
from autotrader.ports.registry import ModelStatus, ModelVersion
from autotrader.registry.onnx_model import OnnxModel
from tests.fakes.prediction_service import MAX_ROWS, TOKEN, Answer, StandInService, served
from tests.services import free_port
from tests.unit.deployment.checks.platform import INSTRUMENTS, NOW, Stores, model_bytes, release_of

LIGHT = Load(requests=20, concurrency=8, max_rows=MAX_ROWS, p99_seconds=60)


def golden_of(release: Release, stores: Stores) -> Golden:
    version = ModelVersion(
        name=release.model,
        version=1,
        semver=release.version,
        status=ModelStatus.CANDIDATE,
        reason="",
        aliases=(),
        onnx_sha256=release.onnx_sha256,
        run_id="run",
        created_at=NOW,
        tags={"feature_set": release.feature_set},
    )
    samples = newest_samples(stores.features, INSTRUMENTS, BALANCED.names, interval=Interval.M5, count=4)
    return make_golden(version, OnnxModel(Path(release.folder) / "model.onnx"), samples)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return release_of(tmp_path / "release", model_bytes())


@pytest.fixture
def golden(release: Release, stores: Stores) -> Golden:
    return golden_of(release, stores)


@pytest.fixture
def service(release: Release) -> StandInService:
    return StandInService(release)


@pytest.fixture
def endpoint(service: StandInService) -> Iterator[str]:
    with served(service) as url:
        yield url


Probing = Callable[..., ProbeReport]


@pytest.fixture
def probe(endpoint: str, release: Release, golden: Golden) -> Probing:
    def run(**given: Any) -> ProbeReport:
        settings = {
            "color": Color.GREEN,
            "release": release,
            "golden": golden,
            "load": LIGHT,
            "patience_seconds": 600,
        } | given
        return run_integration_tests(settings.pop("endpoint", endpoint), TOKEN, **settings)

    return run


def failed(report: ProbeReport) -> set[str]:
    return {r.name for r in report.results if not r.passed}


def test_a_service_that_keeps_the_contract_passes_all_and_nobody_acts_on_the_questions(
    probe: Probing, service: StandInService
) -> None:
    report = probe()
    assert failed(report) == set(), report.reason
    assert report.outcome is Outcome.PASS
    assert report.reason == f"{len(PROBES)} of {len(PROBES)} integration tests passed"
    assert report.total >= 20, "or one failure alone would be more than the share allows"
    assert all(body["replayed"] for body in service.asked)
    ids = [body["request_id"] for body in service.asked]
    assert len(ids) == len(set(ids))


Spoil = Callable[[str, Any, Answer], Answer | None]


def on(path: str, status: int = 200, **changes: Any) -> Spoil:
    """Change fields of the answers from this path with this status."""

    def spoil(asked: str, _: Any, answer: Answer) -> Answer:
        if asked != path or answer[0] != status:
            return answer
        return answer[0], {**answer[1], **changes}

    return spoil


def instead(of: int, status: int) -> Spoil:
    """Give another status."""
    return lambda _path, _body, answer: (status, answer[1]) if answer[0] == of else answer


def probabilities(change: Callable[[list[list[float]]], object]) -> Spoil:
    def spoil(_path: str, _body: Any, answer: Answer) -> Answer:
        if isinstance(answer[1], dict) and "probabilities" in answer[1]:
            return answer[0], {**answer[1], "probabilities": change(answer[1]["probabilities"])}
        return answer

    return spoil


def _batch_alone(rows: list[list[float]]) -> list[list[float]]:
    return rows if len(rows) == 1 else [rows[0], *rows[:-1]]


GOLDEN = {"golden_predictions", "many_rows_equal_single_rows"}
# What goes wrong, and probes that must see it.
MISDEEDS: dict[str, tuple[Spoil, set[str]]] = {
    "another version": (on("/health", version="v0.9.0"), {"health", "health_after_all_that"}),
    "another digest": (on("/health", onnx_sha256="0" * 64), {"health"}),
    "another feature set": (on("/health", feature_set="x"), {"health"}),
    "not ready": (on("/health", ready=False), {"health"}),
    "another color": (on("/predict", color="blue"), {"answers_name_their_source"}),
    "predictions off by little": (
        probabilities(lambda rows: [[r[0] + 2e-5, r[1], r[2] - 2e-5] for r in rows]),
        GOLDEN,
    ),
    "classes in another order": (probabilities(lambda rows: [r[::-1] for r in rows]), GOLDEN),
    "rows shifted in a batch": (probabilities(_batch_alone), {"many_rows_equal_single_rows"}),
    "two classes": (probabilities(lambda rows: [r[:2] for r in rows]), GOLDEN),
    "words": (probabilities(lambda _: [["a", "b", "c"]]), GOLDEN),
    "nulls": (probabilities(lambda _: None), GOLDEN),
    "beyond one": (
        probabilities(lambda rows: [[1.5, -0.5, 0.0] for _ in rows]),
        {"probabilities_are_probabilities"},
    ),
    "no sum of one": (
        probabilities(lambda rows: [[0.5, 0.5, 0.5] for _ in rows]),
        {"probabilities_are_probabilities"},
    ),
    "garbage": (lambda _p, _b, _a: (200, "<html>garbage"), {p.name for p in PROBES}),
    "errors": (lambda _p, _b, a: (500, a[1]), {p.name for p in PROBES}),
    "takes what is wrong": (
        instead(422, 200),
        {"another_version", "another_feature_set", "too_few_features", "a_value_that_is_not_a_number"},
    ),
    "does not say what was expected": (
        on("/predict", 422, expected=""),
        {"another_version", "too_many_features"},
    ),
    "takes the other colour's": (instead(421, 200), {"another_color"}),
    "takes too many rows": (instead(413, 200), {"too_many_rows"}),
    "answers anything": (instead(404, 200), {"an_unknown_path"}),
    "no page of metrics": (
        lambda p, _, a: (200, "no metrics at all!") if p == "/metrics" else a,
        {"metrics_count_requests"},
    ),
    "cuts connections": (lambda _p, body, a: None if body else a, GOLDEN | {"latency"}),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_each_misdeed_is_seen_and_fails_the_colour(
    probe: Probing, service: StandInService, misdeed: str
) -> None:
    service.spoil, seen_by = MISDEEDS[misdeed]
    report = probe()
    assert seen_by <= failed(report), report.reason
    alone = {"too_many_rows", "an_unknown_path", "metrics_count_requests"}
    if seen_by <= alone:
        assert failed(report) == seen_by, report.reason
        assert report.outcome is Outcome.PASS, "one that is not required is within the share"
    else:
        assert report.outcome is Outcome.FAIL


def test_a_service_that_asks_for_no_token_fails(probe: Probing, service: StandInService) -> None:
    service.checks_token = False
    report = probe()
    assert failed(report) == {"no_token", "another_token"}
    assert report.outcome is Outcome.FAIL


def test_a_wrong_token_of_ours_is_told_as_what_it_is(probe: Probing, service: StandInService) -> None:
    service.spoil = lambda p, _, a: (401, {}) if p == "/predict" else a
    assert "golden_predictions: binance:BTCUSDT" in probe().reason
    assert "expected 200, was 401" in probe().reason


def test_metrics_that_stand_still_are_seen(probe: Probing, service: StandInService) -> None:
    service.counts = False
    report = probe()
    assert "metrics_count_requests" in failed(report)


def test_a_slow_service_fails_and_does_not_hold_us_up(probe: Probing, service: StandInService) -> None:
    service.slow_seconds = 0.015
    report = probe(load=replace(LIGHT, p99_seconds=0.01))
    assert failed(report) == {"latency"}
    assert "expected p99 of 10 ms at most, was" in report.reason
    assert report.outcome is Outcome.FAIL
    asked = len(service.asked)
    hurried = probe(patience_seconds=0.1)
    assert len(service.asked) - asked < asked
    assert "not asked: 0.1 s were over" in hurried.reason
    assert hurried.outcome is Outcome.FAIL


def test_nobody_there_is_a_report_and_not_an_error(probe: Probing) -> None:
    report = probe(endpoint=f"http://127.0.0.1:{free_port()}")
    assert (report.passed, report.outcome) == (0, Outcome.FAIL)
    assert "health: expected an answer, was ConnectError" in report.reason
    assert "golden_predictions: not asked" in report.reason


def test_another_release_than_the_one_meant_fails(
    probe: Probing, release: Release, golden: Golden, tmp_path: Path, stores: Stores
) -> None:
    other = release_of(tmp_path / "other", model_bytes(seed=8), "v2.0.0")
    report = probe(release=other, golden=golden_of(other, stores))
    assert {"health", "golden_predictions", "its_own_version"} <= failed(report)
    mixed = probe(golden=replace(golden, onnx_sha256="0" * 64))
    assert failed(mixed) == {"golden_predictions"}
    assert "run the pre-deploy checks again" in mixed.reason


def test_without_golden_predictions_nothing_is_claimed(probe: Probing, golden: Golden) -> None:
    with pytest.raises(BadData, match="golden predictions"):
        probe(golden=replace(golden, rows=()))


def report_of(passed: int, total: int, *, required: bool = False) -> ProbeReport:
    return ProbeReport(
        tuple(ProbeResult(str(i), i < passed, required, "" if i < passed else "bad", 0) for i in range(total))
    )


def test_the_share_that_must_pass_is_95_per_cent_and_every_required_one() -> None:
    assert report_of(95, 100).outcome is Outcome.PASS
    assert report_of(94, 100).outcome is Outcome.FAIL
    assert report_of(99, 100, required=True).outcome is Outcome.FAIL
    assert report_of(0, 0).outcome is Outcome.FAIL


def test_golden_predictions_come_back_as_they_were_written(golden: Golden, tmp_path: Path) -> None:
    write_golden(tmp_path, golden)
    assert read_golden(tmp_path) == golden
    (tmp_path / "golden.json").write_text("{")
    with pytest.raises(BadData, match="JSON"):
        read_golden(tmp_path)
    (tmp_path / "golden.json").write_text("{}")
    with pytest.raises(BadData, match="Golden"):
        read_golden(tmp_path)
    with pytest.raises(BadData, match="was no file"):
        read_golden(tmp_path / "nowhere")
