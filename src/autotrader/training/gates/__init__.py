"""Gates: what a model must show before it may go live, and what they say of one."""

from autotrader.training.gates.catalogue import GATES
from autotrader.training.gates.evidence import GateEvidence, Window
from autotrader.training.gates.gate import Gate, GateResult, Kind, Outcome
from autotrader.training.gates.policy import Decision, GateReport, evaluate_gates

__all__ = [
    "GATES",
    "Decision",
    "Gate",
    "GateEvidence",
    "GateReport",
    "GateResult",
    "Kind",
    "Outcome",
    "Window",
    "evaluate_gates",
]
