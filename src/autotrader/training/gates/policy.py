"""Which gates an environment enforces, and what their results come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autotrader.config.settings import Environment
from autotrader.training.gates.catalogue import GATES
from autotrader.training.gates.evidence import GateEvidence
from autotrader.training.gates.gate import GateResult, Kind, Outcome, judge

_ENFORCED: dict[Environment, frozenset[Kind]] = {
    Environment.DEV: frozenset({Kind.INTEGRITY}),
    Environment.STAGING: frozenset(Kind),
    Environment.PRODUCTION: frozenset(Kind),
}


class Decision(StrEnum):
    """What becomes of the model."""

    PROMOTED = "promoted"
    REJECTED = "rejected"
    AWAITING_APPROVAL = "awaiting_approval"


@dataclass(frozen=True, slots=True)
class GateReport:
    """All results, and the decision.

    Attributes
    ----------
    environment : Environment
    results : tuple of GateResult
        One for each of `GATES`, in that order.
    decision : Decision
        `rejected` unless every enforced gate passed. In production a model that passed is not
        promoted but awaits two sign-offs.
    reasons : tuple of str
        Sentences of the gates that did not pass: the enforced ones, which decide, then the
        advisory ones, which begin with "advisory".
    """

    environment: Environment
    results: tuple[GateResult, ...]
    decision: Decision
    reasons: tuple[str, ...]

    def columns(self) -> dict[str, list[object]]:
        """The results as a table, one row a gate."""
        return {
            "name": [r.name for r in self.results],
            "kind": [r.kind.value for r in self.results],
            "value": [r.value for r in self.results],
            "comparison": [r.comparison for r in self.results],
            "bound": [r.bound for r in self.results],
            "outcome": [r.outcome.value for r in self.results],
            "enforced": [r.enforced for r in self.results],
            "reason": [r.reason for r in self.results],
            "source": [r.source for r in self.results],
        }


def evaluate_gates(evidence: GateEvidence, *, environment: Environment) -> GateReport:
    """Judge the evidence by every gate; only those that the environment enforces decide.

    Parameters
    ----------
    evidence : GateEvidence
    environment : Environment
        `dev` enforces integrity and reports performance as advisory; `staging` and `production`
        enforce both.
    """
    enforced_kinds = _ENFORCED[environment]
    results = tuple(judge(gate, evidence, enforced=gate.kind in enforced_kinds) for gate in GATES)
    short = [r for r in results if r.outcome is not Outcome.PASS]
    blocking = [r.reason for r in short if r.enforced]
    advisory = [f"advisory: {r.reason}" for r in short if not r.enforced]
    if blocking:
        decision = Decision.REJECTED
    elif environment is Environment.PRODUCTION:
        decision = Decision.AWAITING_APPROVAL
    else:
        decision = Decision.PROMOTED
    return GateReport(environment, results, decision, (*blocking, *advisory))
