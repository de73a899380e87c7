"""How a rollout went, for people and for summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotrader.domain.rollout import Outcome, Stage
from autotrader.ports.deployment import DeploymentRecords


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage, with the figures its verdict rests on."""

    stage: Stage
    outcome: Outcome
    seconds: float
    reason: str
    evidence: Mapping[str, object]

    def __str__(self) -> str:
        return f"{self.stage.value:<22} {self.outcome.value:<13} {self.seconds:>8.1f} s  {self.reason}"


def lines_of(records: DeploymentRecords, rollout_id: str) -> Sequence[StageLine]:
    """The stages of a rollout as they ended, in order."""
    return [
        StageLine(record.stage, record.outcome, record.seconds, record.reason, record.evidence)
        for record in records.stages(rollout_id)
    ]
