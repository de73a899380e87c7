"""Gates: what a model must show before it may go live, and what they say of one."""

from autotrader.training.gates.evidence import GateEvidence
from autotrader.training.gates.policy import Decision, GateReport, evaluate_gates
from autotrader.training.gates.rules import GATES, Gate, GateResult, Kind, Outcome

__all__ = [
    "GATES",
    "Decision",
    "Gate",
    "GateEvidence",
    "GateReport",
    "GateResult",
    "Kind",
    "Outcome",
    "evaluate_gates",
]
