"""Probe the running colour of a version: `python -m autotrader.tests.smoke --model v1.2.3`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from autotrader import command
from autotrader.config.serving_token import serving_token
from autotrader.config.settings import Settings
from autotrader.deployment.checks.asking import ask_newest
from autotrader.deployment.checks.golden import Golden
from autotrader.deployment.checks.integration import ProbeReport, run_integration_tests
from autotrader.deployment.checks.pre_deploy import MODEL_FILE
from autotrader.deployment.checks.probes import Load
from autotrader.domain.errors import ExitCode
from autotrader.domain.rollout import Outcome
from autotrader.features.store.store import FeatureStore
from autotrader.ports.deployment import DeploymentRecords, Release, Slot
from autotrader.ports.registry import ModelRegistry, ModelVersion
from autotrader.registry.onnx_model import OnnxModel


def smoke(
    *,
    model: str,
    settings: Settings,
    registry: ModelRegistry,
    records: DeploymentRecords,
    store: FeatureStore,
) -> command.Result:
    """Ask the colour that runs a version what callers ask, and what they must not; exit 1 if it fails.

    Predictions are compared with those of the registry's file, on the newest rows of the feature
    store. Nothing is started or switched, and nobody acts on the answers. Where no colour runs the
    version, the output says what runs, and the exit code is 1.

    Parameters
    ----------
    model : str
        Version: semver (v1.2.3), number (7) or alias (champion, challenger, previous).
    """
    version = registry.get(settings.strategy.strategy_id, model)
    slots = list(records.slots().values())
    running = [slot for slot in slots if slot.version == version.semver and slot.endpoint]
    if not running:
        text = f"expected a colour that runs {version.semver}, was none: {_running(slots)}"
        return command.Result(
            {"version": version.semver, "passed": False, "reason": text}, text, ExitCode.FAILED
        )
    golden = _golden(version, settings, registry, store)
    token = serving_token(settings)
    reports = {slot: _probe(slot, version, golden, token, settings) for slot in running}
    passed = all(report.outcome is Outcome.PASS for report in reports.values())
    data = {
        "version": version.semver,
        "passed": passed,
        "colors": {
            slot.color.value: {"endpoint": slot.endpoint, "outcome": report.outcome, **report.evidence}
            for slot, report in reports.items()
        },
    }
    text = "\n".join(_text(slot, report) for slot, report in reports.items())
    return command.Result(data, text, ExitCode.DONE if passed else ExitCode.FAILED)


def _golden(
    version: ModelVersion, settings: Settings, registry: ModelRegistry, store: FeatureStore
) -> Golden:
    with tempfile.TemporaryDirectory(prefix="autotrader-smoke-") as folder:
        offline = OnnxModel(registry.fetch_artifact(version, MODEL_FILE, Path(folder)))
        return ask_newest(version, offline, store, settings).require_golden()


def _probe(slot: Slot, version: ModelVersion, golden: Golden, token: str, settings: Settings) -> ProbeReport:
    release = Release(
        model=version.name,
        version=version.semver,
        folder="",  # of the service, which may be on another machine
        onnx_sha256=version.onnx_sha256,
        feature_set=golden.feature_set,
    )
    return run_integration_tests(
        slot.endpoint or "",
        token,
        color=slot.color,
        release=release,
        golden=golden,
        load=Load(max_rows=settings.serving.max_rows),
    )


def _running(slots: Sequence[Slot]) -> str:
    held = [f"{slot.color} has {slot.version} ({slot.state})" for slot in slots if slot.version]
    return "; ".join(held) or "nothing is deployed"


def _text(slot: Slot, report: ProbeReport) -> str:
    width = max(len(r.name) for r in report.results)
    marks = {True: "ok", False: "FAIL"}
    lines = [
        f"  {marks[r.passed]:<4}  {r.name:<{width}}  {r.seconds * 1e3:7.1f} ms  {r.reason}".rstrip()
        for r in report.results
    ]
    share = f"{report.passed} of {report.total} integration tests passed"
    return "\n".join([f"{slot.color} at {slot.endpoint} runs {slot.version}: {share}", *lines])


if __name__ == "__main__":
    raise SystemExit(command.run(smoke))
