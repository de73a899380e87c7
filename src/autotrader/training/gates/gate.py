"""What a gate is, and what it says of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from autotrader.training.gates.evidence import GateEvidence


class Kind(StrEnum):
    """Integrity: is this the model that it claims to be. Performance: is it any good."""

    INTEGRITY = "integrity"
    PERFORMANCE = "performance"


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule found: the measured value (None: not measured), the outcome, and why."""

    value: float | None
    outcome: Outcome
    because: str


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound and where it comes from.

    Attributes
    ----------
    name : str
    subject : str
        What is measured, as a sentence begins.
    comparison : str
        `>`, `>=`, `<` or `<=`: what value and bound must satisfy.
    bound : float
    unit : str
        `ratio`, `share`, `count` or `difference`: how numbers are printed.
    kind : Kind
    source : str
    rule : Callable
    """

    name: str
    subject: str
    comparison: str
    bound: float
    unit: str
    kind: Kind
    source: str
    rule: Callable[[Gate, GateEvidence], Ruling]

    def holds(self, value: float) -> bool:
        """Whether the value is on the right side of the bound."""
        match self.comparison:
            case ">":
                return value > self.bound
            case ">=":
                return value >= self.bound
            case "<":
                return value < self.bound
        return value <= self.bound

    def show(self, value: float) -> str:
        """The value as people read it."""
        match self.unit:
            case "share":
                return f"{value:.1%}"
            case "count":
                return f"{value:,.0f}"
            case "difference":
                return f"{value:.1e}"
        return f"{value:.2f}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one gate says of one model.

    Attributes
    ----------
    name : str
    value : float or None
        None: not measured.
    comparison : str
    bound : float
    outcome : Outcome
    enforced : bool
        False: advisory in this environment.
    kind : Kind
    reason : str
        One sentence with the numbers in it.
    source : str
    """

    name: str
    value: float | None
    comparison: str
    bound: float
    outcome: Outcome
    enforced: bool
    kind: Kind
    reason: str
    source: str


def judge(gate: Gate, evidence: GateEvidence, *, enforced: bool) -> GateResult:
    """Apply the gate's rule, and put it in a sentence."""
    ruling = gate.rule(gate, evidence)
    if ruling.value is None:
        said = f"{gate.subject} was not measured"
    else:
        sides = {">": "above", ">=": "at least", "<": "below", "<=": "at most"}
        side = sides[gate.comparison] if gate.holds(ruling.value) else f"not {sides[gate.comparison]}"
        said = f"{gate.subject} {gate.show(ruling.value)} is {side} {gate.show(gate.bound)}"
    because = f" ({ruling.because})" if ruling.because else ""
    return GateResult(
        name=gate.name,
        value=ruling.value,
        comparison=gate.comparison,
        bound=gate.bound,
        outcome=ruling.outcome,
        enforced=enforced,
        kind=gate.kind,
        reason=f"{said}{because}: {ruling.outcome}",
        source=gate.source,
    )
