"""One word on the live model's health, why, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from autotrader.domain.verdicts import Severity, worst
from autotrader.monitoring.checks import DRIFT, PERFORMANCE, QUALITY, Check
from autotrader.ports.events import Event, EventLog, EventType


class Health(StrEnum):
    """UNDECIDED is neither: what would have to be looked at is not there yet."""

    HEALTHY = "healthy"
    UNDECIDED = "undecided"
    WARNING = "warning"
    CRITICAL = "critical"


_DO = {
    "feature_drift": "Compare the moved features' values with the bars: a standing value or another scale "
    "is a fault of a feed or a formula, to be mended there. If the market changed, train again "
    "(training_pipeline) and deploy what passes.",
    "prediction_drift": "Look at the features that moved first: the model answers to them. If none did, "
    "verify which version is served (python -m autotrader.deployment.get_status).",
    "correlation_change": "Look at the named feature: values that are shuffled or late keep their "
    "distribution and lose their company.",
    "lag": "Load what is missing: trigger data_pipeline, and look at the venue's connection.",
    "missing_share": "Find the gap in the bars (python -m autotrader.data.check_completeness), then "
    "load it again with data_pipeline in mode backfill.",
    "range": "Stop trusting the feature until a person has looked at the bars behind the values out of "
    "range (python -m autotrader.data.validate).",
    "standing": "A feed or a formula stands still: look at the newest bars of the instrument, and at what "
    "computes the feature live.",
    "parity": "Live and batch features must be equal: compare the versions of the code that serves and "
    "that trains before anything else.",
    "accuracy": "If it began with a release, go back (python -m autotrader.deployment.emergency_rollback "
    "--version VERSION --reason REASON); else train again on newer data.",
    "confidence": "No action by itself: compare it with what it was when the model was judged.",
    "calibration": "Train again: probabilities are fitted anew with every model.",
}


# Critical alerts of all kinds among which the verdict of the hour before is.
_LOOKED_THROUGH = 1_000


@dataclass(frozen=True, slots=True)
class HealthVerdict:
    """The last word of a health check.

    Attributes
    ----------
    health : Health
    reason : str
        The worst findings, or what is missing.
    what_to_do : tuple of str
    retrain : bool
        A critical verdict that newer data could mend, and the setting asks for it.
    market_time : datetime
        UTC; `replay` tells whether it stands at, or moves through, recorded or simulated data.
    """

    health: Health
    reason: str
    what_to_do: tuple[str, ...]
    retrain: bool
    market_time: datetime
    replay: bool
    strategy_id: str
    model: str | None
    checks: Mapping[str, Check]


def conclude(
    checks: Sequence[Check],
    *,
    market_time: datetime,
    replay: bool,
    strategy_id: str,
    retrain_on_critical: bool,
) -> HealthVerdict:
    """Put the checks together.

    Broken data is never a reason to train again: a model would learn it.
    """
    by_name = {check.name: check for check in checks}
    severity = worst(check.severity for check in checks)
    blind = [check for check in checks if not check.decided]
    if severity is not Severity.HEALTHY:
        health = Health(severity.value)
        reason = "; ".join(f"{c.name}: {c.reason}" for c in checks if c.severity is severity)
    elif blind:
        health = Health.UNDECIDED
        reason = "; ".join(f"{c.name}: {c.reason.removeprefix('undecided: ')}" for c in blind)
    else:
        health = Health.HEALTHY
        reason = "; ".join(c.reason for c in checks)
    found = [f for level in (Severity.CRITICAL, Severity.WARNING) for c in checks for f in c.findings
             if f.severity is level]  # fmt: skip
    mendable = any(
        check.severity is Severity.CRITICAL for check in checks if check.name in (DRIFT, PERFORMANCE)
    )
    broken = any(check.severity is Severity.CRITICAL for check in checks if check.name == QUALITY)
    models = (check.figures.get("model") for check in checks)
    model = next((str(m) for m in models if m), None)
    return HealthVerdict(
        health=health,
        reason=reason,
        what_to_do=tuple(dict.fromkeys(_DO[f.check].replace("VERSION", model or "VERSION") for f in found)),
        retrain=retrain_on_critical and mendable and not broken,
        market_time=market_time,
        replay=replay,
        strategy_id=strategy_id,
        model=model,
        checks=by_name,
    )


def announce(
    verdict: HealthVerdict, events: EventLog, *, run_key: str, actor: str, at: datetime
) -> str | None:
    """Record a critical verdict as an event, once for each run; returns its key.

    Critical ones in a row are one alert. The first that looked again at what was critical, and is not, ends
    it; so does the first of another model. One that could not look says nothing of it.
    """
    fingerprint = f"health/{verdict.strategy_id}"
    if verdict.health is not Health.CRITICAL:
        _end(verdict, events, fingerprint, actor=actor, at=at)
        return None
    key = f"{fingerprint}/{run_key}"
    events.record(
        Event(
            key=key,
            type=EventType.ALERT,
            severity="critical",
            message=f"{verdict.strategy_id} {verdict.model or ''} is not well: {verdict.reason}",
            actor=actor,
            at=at,
            data={
                "fingerprint": fingerprint,
                "model": verdict.model,
                "checks": [n for n, check in verdict.checks.items() if check.severity is Severity.CRITICAL],
                "market_time": verdict.market_time.isoformat(),
                "what_to_do": list(verdict.what_to_do),
                "retrain": verdict.retrain,
            },
        )
    )
    return key


def _end(verdict: HealthVerdict, events: EventLog, fingerprint: str, *, actor: str, at: datetime) -> None:
    """Record that the newest critical verdict holds no more: once, and nothing where there was none."""
    critical = events.recent(type=EventType.ALERT, severity=Severity.CRITICAL.value, limit=_LOOKED_THROUGH)
    last = next((event for event in critical if event.data.get("fingerprint") == fingerprint), None)
    if last is None or _is_unseen(verdict, last):
        return
    model = f"{verdict.strategy_id} {verdict.model or ''}"
    events.record(
        Event(
            key=f"{last.key}/over",
            type=EventType.ALERT,
            severity="info",
            message=f"{model} is {verdict.health.value}: {verdict.reason}",
            actor=actor,
            at=at,
            data={"alert": "ModelHealthCritical", "fingerprint": fingerprint, "resolved": True},
        )
    )


def _is_unseen(verdict: HealthVerdict, critical: Event) -> bool:
    """Whether something that was critical of this model could not be looked at again."""
    if verdict.model is not None and verdict.model != critical.data.get("model"):
        return False
    named = critical.data.get("checks")
    names = named if isinstance(named, list) else ()
    return any(not check.decided for name, check in verdict.checks.items() if name in names)
