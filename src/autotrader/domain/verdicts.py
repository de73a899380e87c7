"""Verdicts: expected outcomes with their reason and evidence, returned rather than raised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad the state of something is; ordered by `rank`."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of several severities; HEALTHY of none."""
    return max(severities, key=lambda s: s.rank, default=Severity.HEALTHY)


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation of a check.

    Attributes
    ----------
    check : str
        What was looked at, in snake case (`missing_share`).
    severity : Severity
    reason : str
        One sentence with the numbers in it.
    evidence : Mapping[str, object]
        JSON-serialisable figures behind the sentence.
    """

    check: str
    severity: Severity
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a set of checks says of a subject; as bad as its worst finding."""

    subject: str
    findings: tuple[Finding, ...] = ()

    @property
    def severity(self) -> Severity:
        return worst(f.severity for f in self.findings)

    @property
    def reason(self) -> str:
        """The reasons of the worst findings, or 'all checks passed'."""
        bad = [
            f.reason
            for f in self.findings
            if f.severity is self.severity and f.severity is not Severity.HEALTHY
        ]
        return "; ".join(bad) or "all checks passed"
