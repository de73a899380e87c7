"""What a stage says: a state, a sentence with the measured figure in it, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from autotrader.apps.api.status import ComponentStatus
from autotrader.apps.api.status import Finding as ComponentFinding
from autotrader.domain.errors import AutotraderError
from autotrader.domain.verdicts import Severity


class State(StrEnum):
    """In the order in which they outweigh each other."""

    NOT_APPLICABLE = "not applicable"
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    subject : str
    state : State
    reason : str
        One sentence, with the figure.
    todo : str
        What mends it; empty where nothing is to be mended.
    """

    subject: str
    state: State
    reason: str
    todo: str = ""


def ok(subject: str, reason: str) -> Finding:
    return Finding(subject, State.OK, reason)


def warning(subject: str, reason: str, todo: str) -> Finding:
    return Finding(subject, State.WARNING, reason, todo)


def failed(subject: str, reason: str, todo: str) -> Finding:
    return Finding(subject, State.FAILED, reason, todo)


def not_applicable(subject: str, reason: str) -> Finding:
    return Finding(subject, State.NOT_APPLICABLE, reason)


def worst(findings: Iterable[Finding]) -> State:
    """The worst state; NOT_APPLICABLE of none."""
    return max((f.state for f in findings), key=list(State).index, default=State.NOT_APPLICABLE)


_OF_COMPONENT = {
    ComponentStatus.HEALTHY: State.OK,
    ComponentStatus.DEGRADED: State.WARNING,
    ComponentStatus.UNHEALTHY: State.FAILED,
}
_OF_SEVERITY = {
    Severity.HEALTHY: State.OK,
    Severity.WARNING: State.WARNING,
    Severity.CRITICAL: State.FAILED,
}


def of_component(
    subject: str, look: Callable[[], ComponentFinding], todo: str, *, unknown: State = State.FAILED
) -> Finding:
    """What a component's health check says; `unknown` is what it means that the component does not run."""
    try:
        found = look()
    except AutotraderError as error:
        return failed(subject, str(error), todo)
    state = _OF_COMPONENT.get(found.status, unknown)
    return Finding(subject, state, found.reason, todo if state in (State.WARNING, State.FAILED) else "")


def of_severity(subject: str, severity: Severity, reason: str, todo: str) -> Finding:
    """What a check of the data says."""
    state = _OF_SEVERITY[severity]
    return Finding(subject, state, reason, "" if state is State.OK else todo)
