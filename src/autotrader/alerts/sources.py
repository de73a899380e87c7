"""Which entries of the business log raise alerts: the one place that says so.

An event of the type ALERT always does. Whoever records one may say more in its data: `alert` (the
name), `fingerprint`, `runbook`, `resolved`; without a fingerprint, its key makes it one of its own. Of one
that Alertmanager told of there is more: `starts_at`, and the `incident` of the pager.
Other events do where somebody must know of them, or wants to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from autotrader.alerts.relayed import RELAYED
from autotrader.alerts.wording import one_line
from autotrader.domain.alerts import Severity
from autotrader.domain.thresholds import DEGRADATION
from autotrader.domain.trading import Cause
from autotrader.ports.alerts import Raising
from autotrader.ports.events import Event, EventType

OPERATOR = "OperatorAlert"  # what a person or a script raised without a name

# As the partial index of the table of events has it.
TYPES = (EventType.ALERT, EventType.RISK, EventType.RECOVERY, EventType.DEPLOYMENT, EventType.BACKUP)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_DATA_DAGS = frozenset({"data_pipeline", "close_of_market"})
_MOST_FINGERPRINT = 200


def raisings(event: Event) -> tuple[Raising, ...]:
    """What the event raises, and what it ends."""
    return _BY_TYPE[event.type](event) if event.type in _BY_TYPE else ()


def runbook_of(name: str) -> str:
    """Path of an alert's page below the runbooks."""
    return f"alerts/{name}.md"


def named(name: object) -> str:
    """The name where it can be one: it becomes part of paths and labels."""
    text = str(name or "")
    return text if _NAME.fullmatch(text) else OPERATOR


def _alert(event: Event) -> tuple[Raising, ...]:
    data = event.data
    name = named(data["alert"]) if data.get("alert") else _name_of_key(event)
    fingerprint = one_line(str(data.get("fingerprint") or event.key), _MOST_FINGERPRINT)
    runbook = one_line(str(data.get("runbook") or ""))
    return (
        _raising(
            event,
            name,
            fingerprint,
            resolved=data.get("resolved") is True,
            runbook=runbook,
            relayed=data.get("source") == RELAYED,
            began_at=_instant(data.get("starts_at")),
            thread=one_line(str(data.get("incident") or "")) or None,
        ),
    )


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None  # an entry that somebody else made


def _name_of_key(event: Event) -> str:
    kind, _, rest = event.key.partition("/")
    match kind:
        case "task-failed":
            dag_id = rest.partition("/")[0]
            if dag_id in _DATA_DAGS:
                return "DataPipelineFailure"
            return "ModelDeploymentFailure" if dag_id == "deployment_pipeline" else "PipelineTaskFailure"
        case "health":
            return "ModelHealthCritical"
    return OPERATOR


def _risk(event: Event) -> tuple[Raising, ...]:
    """An account's trading is restricted, or active again."""
    cause, state = str(event.data.get("cause")), str(event.data.get("state"))
    account = event.key.removeprefix("risk-").removesuffix(f"-{cause}-{state}-{event.at.isoformat()}")
    fingerprints = {name: f"{name}/{account}" for name in (_BREAKER, _RESTRICTED, _MISMATCH)}
    if _severity(event) is Severity.INFO:
        return tuple(_raising(event, name, mark, resolved=True) for name, mark in fingerprints.items())
    name = _BREAKER if _is_breaker(cause) else _RESTRICTED
    component = next((d.alert for d in DEGRADATION if d.cause.value == cause and d.alert), None)
    # The mark is the account's, whatever part was away: one end is the end of all.
    return (_raising(event, name if name == _BREAKER else component or name, fingerprints[name]),)


def _recovery(event: Event) -> tuple[Raising, ...]:
    """A difference is the account's, whoever finds it and however often; whoever finds none ends it."""
    account = event.data.get("account")
    mark = f"{_MISMATCH}/{account}" if account else event.key
    is_unsettled = event.key.startswith("recovery-") and event.severity == "critical"
    if is_unsettled or event.key.startswith("discrepancies-"):
        return (_raising(event, _MISMATCH, mark),)
    ended = (_raising(event, _MISMATCH, mark, resolved=True),) if event.data.get("agrees") is True else ()
    if _severity(event) is Severity.INFO:
        return ended
    return (*ended, _raising(event, "Recovery", event.key))


def _deployment(event: Event) -> tuple[Raising, ...]:
    """A failure is over with the strategy's next version that goes live whole."""
    mark = f"rollout/{event.data.get('strategy') or event.key}"
    if _severity(event) is not Severity.INFO:
        return (_raising(event, "ModelDeploymentFailure", mark),)
    if event.key.startswith("promoted/"):
        return (_raising(event, "ModelPromoted", event.key),)
    if event.key.endswith("/completed"):
        return (
            _raising(event, "ModelDeploymentFailure", mark, resolved=True),
            _raising(event, "DeploymentCompleted", event.key),
        )
    return ()


def _backup(event: Event) -> tuple[Raising, ...]:
    return (_raising(event, "BackupFailed", "backup", resolved=_severity(event) is Severity.INFO),)


def _raising(
    event: Event,
    name: str,
    fingerprint: str,
    *,
    resolved: bool = False,
    runbook: str = "",
    relayed: bool = False,
    began_at: datetime | None = None,
    thread: str | None = None,
) -> Raising:
    severity = _severity(event)
    return Raising(
        fingerprint=fingerprint,
        name=name,
        severity=severity,
        message=one_line(event.message) or name,
        at=began_at or event.at,
        resolved=resolved,
        runbook=runbook or ("" if severity is Severity.INFO else runbook_of(name)),
        instrument=event.instrument,
        relayed=relayed,
        began_at=began_at,
        thread=thread,
    )


def _severity(event: Event) -> Severity:
    # A word that we do not know is no reason to keep quiet.
    return Severity(event.severity) if event.severity in set(Severity) else Severity.WARNING


def _is_breaker(cause: str) -> bool:
    return any(known.value == cause and known.is_breaker for known in Cause)


_BREAKER, _RESTRICTED, _MISMATCH = "CircuitBreakerTripped", "TradingRestricted", "PositionMismatch"
_BY_TYPE: Mapping[EventType, Callable[[Event], tuple[Raising, ...]]] = {
    EventType.ALERT: _alert,
    EventType.RISK: _risk,
    EventType.RECOVERY: _recovery,
    EventType.DEPLOYMENT: _deployment,
    EventType.BACKUP: _backup,
}
