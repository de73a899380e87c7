"""Pre-deploy checks: everything that can be known of a version before it is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil

from autotrader.access.sign_off import SignOff, SignOffState, request_sign_off, sign_off_state, subject_of
from autotrader.command import to_plain
from autotrader.config.settings import Environment, Settings
from autotrader.data.bars import BarStore
from autotrader.deployment.checks.asking import ask_newest
from autotrader.deployment.checks.footprint import check_footprint, check_machine, measure_footprint
from autotrader.deployment.checks.golden import Samples, write_golden
from autotrader.deployment.checks.live_features import check_freshness, check_parity
from autotrader.deployment.checks.registered import check_digests, check_gates, check_instruments
from autotrader.domain.errors import BadData, NotFound, Refused
from autotrader.domain.rollout import Outcome
from autotrader.domain.verdicts import Finding, Severity, Verdict
from autotrader.features.store.store import FeatureStore
from autotrader.ports.approvals import Approvals
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.registry import ModelRegistry, ModelVersion
from autotrader.registry.onnx_model import OnnxModel

MODEL_FILE = "model.onnx"


# Checks of what a version meets: it may be deployed once that is mended.
_NOT_OF_THE_VERSION = frozenset({"freshness", "parity", "machine", "feature_rows", "sign_offs"})


@dataclass(frozen=True, slots=True)
class PreDeployReport:
    """What the checks came to.

    Attributes
    ----------
    verdict : Verdict
        One finding a check; a check that an earlier failure made impossible is not among them.
    version : ModelVersion or None
        None where there is no such version.
    sign_off : SignOff or None
        None where the environment asks for none, or the other checks failed.
    golden_path : str or None
        Golden predictions that were made.
    """

    verdict: Verdict
    version: ModelVersion | None = None
    sign_off: SignOff | None = None
    golden_path: str | None = None

    @property
    def outcome(self) -> Outcome:
        """Fail where a finding is critical; inconclusive while people still have to sign."""
        if self.verdict.severity is Severity.CRITICAL:
            return Outcome.FAIL
        waiting = self.sign_off is not None and self.sign_off.state is not SignOffState.APPROVED
        return Outcome.INCONCLUSIVE if waiting else Outcome.PASS

    @property
    def is_faulty(self) -> bool:
        """Whether anything critical is the version's own, not of the data, machine or people around it."""
        return any(
            f.severity is Severity.CRITICAL and f.check not in _NOT_OF_THE_VERSION
            for f in self.verdict.findings
        )

    @property
    def reason(self) -> str:
        """One line for a person: what is wrong or awaited, or how much was checked."""
        if self.outcome is Outcome.INCONCLUSIVE and self.sign_off is not None:
            return self.sign_off.reason
        if self.verdict.severity is Severity.HEALTHY:
            return f"{len(self.verdict.findings)} checks passed"
        return self.verdict.reason

    @property
    def evidence(self) -> dict[str, object]:
        """Findings by name, for a stage record."""
        findings: dict[str, object] = {
            f.check: to_plain({"severity": f.severity, "reason": f.reason, **f.evidence})
            for f in self.verdict.findings
        }
        return findings


def pre_deploy_checks(
    *,
    version: str,
    submitted_by: str,
    asked_at: datetime,
    folder: Path,
    settings: Settings,
    registry: ModelRegistry,
    store: FeatureStore,
    bars: BarStore,
    approvals: Approvals,
    market_clock: MarketClock,
    wall_clock: WallClock,
) -> PreDeployReport:
    """Check a version, and make its golden predictions; may be run again at any time.

    In production, a version that passes everything else is put before those who sign. A warning is
    told and stops nothing.

    Parameters
    ----------
    version : str
        Semver, number or alias.
    submitted_by : str
        Who asked for the deployment; may not sign it.
    asked_at : datetime
        When it was asked for, wall time: what was rejected before then is asked for anew.
    folder : Path
        Of the release: gets `model.onnx` and `golden.json`.

    Raises
    ------
    Unreachable
        If registry, lake or database do not answer: nothing was found out, try again.
    """
    try:
        found = registry.get(settings.strategy.strategy_id, version)
    except NotFound as error:
        return PreDeployReport(_verdict(version, Finding("registered", Severity.CRITICAL, str(error))))
    checks = _Checks(found, folder, settings, registry, store, bars, market_clock)
    checks.run()
    verdict = _verdict(found.semver, *checks.findings)
    sign_off = None
    if settings.environment is Environment.PRODUCTION and verdict.severity is not Severity.CRITICAL:
        finding, sign_off = _sign_offs(approvals, found, submitted_by, asked_at, wall_clock.now())
        verdict = _verdict(found.semver, *checks.findings, finding)
    return PreDeployReport(verdict, found, sign_off, checks.golden_path)


@dataclass
class _Checks:
    """The checks of one version, in an order in which the later ones can rely on the earlier ones."""

    version: ModelVersion
    folder: Path
    settings: Settings
    registry: ModelRegistry
    store: FeatureStore
    bars: BarStore
    clock: MarketClock
    findings: list[Finding] = field(default_factory=list)
    golden_path: str | None = None

    def run(self) -> None:
        instruments, interval = self.settings.instruments(), self.settings.strategy.interval
        self.findings += [
            check_gates(self.version, self.settings.environment),
            check_instruments(self.version, instruments),
            check_freshness(self.store, instruments, interval=interval, clock=self.clock),
            check_parity(self.bars, self.store, instruments, interval=interval),
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.findings.append(
            check_machine(
                free_memory_bytes=psutil.virtual_memory().available,
                free_disk_bytes=psutil.disk_usage(str(self.folder)).free,
            )
        )
        try:
            path = self.registry.fetch_artifact(self.version, MODEL_FILE, self.folder)
            model = OnnxModel(path)
        except (BadData, NotFound) as error:
            self.findings.append(Finding("digests", Severity.CRITICAL, str(error)))
            return
        self.findings.append(check_digests(self.version, path, model))
        asked = ask_newest(self.version, model, self.store, self.settings)
        self.findings += asked.findings
        if asked.samples is not None and len(asked.samples):
            self._measure(path, asked.samples)
        if asked.golden is not None:
            self.golden_path = str(write_golden(self.folder, asked.golden))

    def _measure(self, path: Path, samples: Samples) -> None:
        try:
            self.findings += check_footprint(measure_footprint(path, samples.features))
        except BadData as error:
            self.findings.append(Finding("memory", Severity.CRITICAL, str(error)))


def _sign_offs(
    approvals: Approvals, version: ModelVersion, submitted_by: str, asked_at: datetime, now: datetime
) -> tuple[Finding, SignOff | None]:
    try:
        subject = subject_of(version)
    except Refused as error:
        return Finding("sign_offs", Severity.CRITICAL, str(error)), None
    request_sign_off(approvals, subject, submitted_by=submitted_by, now=now, asked_at=asked_at)
    found = sign_off_state(approvals, version, now=now)
    severity = {SignOffState.APPROVED: Severity.HEALTHY, SignOffState.WAITING: Severity.WARNING}.get(
        found.state, Severity.CRITICAL
    )
    evidence = {"state": found.state, "missing": found.missing, "decisions": found.decisions}
    return Finding("sign_offs", severity, found.reason, evidence), found


def _verdict(version: str, *findings: Finding) -> Verdict:
    return Verdict(f"deployment of {version}", findings)
