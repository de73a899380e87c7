"""Statistics that judge a rollout: pass, fail or inconclusive, however often they are asked."""

from autotrader.deployment.analysis.guards import GuardEvidence
from autotrader.deployment.analysis.health import HealthObservation
from autotrader.deployment.analysis.results import CheckResult, Look
from autotrader.deployment.analysis.rollout import RolloutAnalysis

__all__ = ["CheckResult", "GuardEvidence", "HealthObservation", "Look", "RolloutAnalysis"]
