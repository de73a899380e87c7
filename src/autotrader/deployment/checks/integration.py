"""Integration tests of a running colour: all probes, and whether it may be asked by callers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from autotrader.command import to_plain
from autotrader.deployment.checks.colour import Colour
from autotrader.deployment.checks.golden import Golden
from autotrader.deployment.checks.probes import PROBES, Load, Probe
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import Color, Outcome
from autotrader.domain.thresholds import DEPLOYMENT_CHECKS
from autotrader.ports.deployment import Release

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe came to.

    Attributes
    ----------
    reason : str
        Empty where it passed.
    """

    name: str
    passed: bool
    required: bool
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What all probes came to."""

    results: tuple[ProbeResult, ...]

    @property
    def passed(self) -> int:
        return sum(r.passed for r in self.results)

    @property
    def total(self) -> int:
        return len(self.results)

    @property
    def outcome(self) -> Outcome:
        """Pass where enough passed, and all that are required; never on none."""
        enough = self.total > 0 and self.passed >= DEPLOYMENT_CHECKS.integration_pass_share * self.total
        return Outcome.PASS if enough and all(r.passed for r in self.results if r.required) else Outcome.FAIL

    @property
    def reason(self) -> str:
        """How many passed, and what is wrong with the others, those that are required first."""
        failed = sorted((r for r in self.results if not r.passed), key=lambda r: not r.required)
        share = f"{self.passed} of {self.total} integration tests passed"
        bound = f"{DEPLOYMENT_CHECKS.integration_pass_share:.0%} and every required one must"
        said = "; ".join(f"{r.name}: {r.reason}" for r in failed)
        return f"{share} ({bound}): {said}" if failed else share

    @property
    def evidence(self) -> dict[str, object]:
        """Results by name, for a stage record."""
        return {"passed": self.passed, "total": self.total, "probes": to_plain(self.results)}


def run_integration_tests(
    endpoint: str,
    token: str,
    *,
    color: Color,
    release: Release,
    golden: Golden,
    load: Load | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
    probes: Sequence[Probe] = PROBES,
) -> ProbeReport:
    """Probe a running colour. Its predictions are marked as replayed: nobody acts on them.

    A service that does not answer, is slow or talks nonsense is a report, not an error.

    Parameters
    ----------
    endpoint : str
        Base URL.
    token : str
        Of a caller.
    color : Color
        That it should be.
    release : Release
        That it should serve.
    golden : Golden
        Of that release.
    load : Load or None
        How hard to press; None is as the thresholds say.
    patience_seconds : float
        After which no further probe is begun; those left have failed.

    Raises
    ------
    BadData
        If there are no golden predictions.
    """
    if not golden.rows:
        raise BadData(
            f"expected golden predictions of {golden.version}, were none: run the pre-deploy checks"
        )
    load = load or Load()
    results: list[ProbeResult] = []
    begin = time.monotonic()
    not_asked = ""
    with Colour(
        endpoint, token=token, color=color, release=release, golden=golden, connections=load.concurrency
    ) as colour:
        for probe in probes:
            if not not_asked and time.monotonic() - begin > patience_seconds:
                not_asked = f"not asked: {patience_seconds:g} s were over"
            result = (
                ProbeResult(probe.name, False, probe.required, not_asked, 0.0)
                if not_asked
                else _ask(probe, colour, load)
            )
            if not results:
                more = _MORE_TRIES  # one answer that a busy machine owes is no silence
                while more and result.reason.startswith(_SILENT):
                    result, more = _ask(probe, colour, load), more - 1
                if result.reason.startswith(_SILENT):
                    not_asked = f"not asked: {endpoint} does not answer"
            results.append(result)
    return ProbeReport(tuple(results))


_SILENT = "expected an answer"
_MORE_TRIES = 2  # of the first one


def _ask(probe: Probe, colour: Colour, load: Load) -> ProbeResult:
    begin = time.monotonic()
    try:
        reason = probe.ask(colour, load) or ""
    except httpx.HTTPError as error:
        reason = f"{_SILENT}, was {type(error).__name__}: {error}"
    except BadData as error:
        reason = str(error)
    return ProbeResult(probe.name, not reason, probe.required, reason, time.monotonic() - begin)
