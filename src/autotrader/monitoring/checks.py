"""What a health check returns: a verdict that may be "undecided", with the figures behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotrader.domain.verdicts import Finding, Severity, Verdict

DRIFT, QUALITY, PERFORMANCE = "drift", "quality", "performance"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the live model.

    Attributes
    ----------
    name : str
        `drift`, `quality` or `performance`.
    severity : Severity
        HEALTHY where undecided.
    decided : bool
        False: there is not enough to say; `reason` says what is missing.
    reason : str
        One sentence for a person.
    findings : tuple of Finding
        Of what is not healthy.
    figures : Mapping[str, object]
        Everything measured, JSON-serialisable.
    """

    name: str
    severity: Severity
    decided: bool
    reason: str
    findings: tuple[Finding, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def undecided(name: str, reason: str, **figures: Any) -> Check:
    """There is not enough to say."""
    return Check(name, Severity.HEALTHY, decided=False, reason=f"undecided: {reason}", figures=figures)


def decided(name: str, findings: list[Finding], healthy: str, **figures: Any) -> Check:
    """As bad as the worst finding; `healthy` is the reason where there is none."""
    verdict = Verdict(name, tuple(f for f in findings if f.severity is not Severity.HEALTHY))
    return Check(
        name,
        verdict.severity,
        decided=True,
        reason=verdict.reason if verdict.findings else healthy,
        findings=verdict.findings,
        figures=figures,
    )
