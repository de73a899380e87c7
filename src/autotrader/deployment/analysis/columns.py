"""Pairs as columns, in order of arrival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from autotrader.domain.rollout import Stage
from autotrader.execution.arrays import Booleans, Floats
from autotrader.ports.deployment import Pair

ANSWERED = 200


@dataclass(frozen=True, slots=True)
class Columns:
    """One element a pair; NaN where the pair has None.

    Attributes
    ----------
    stage : float64[n]
        Number of the stage in which it arrived.
    candidate_status, stable_status : float64[n]
        0 where there was no answer; stable NaN where it was not asked.
    candidate_seconds, stable_seconds : float64[n]
    candidate_score, stable_score : float64[n]
    parity : float64[n]
        Largest difference from the offline model's probabilities.
    replayed : bool[n]
        Whether the driver asked, and no caller.
    instrument : object[n]
    """

    stage: Floats
    candidate_status: Floats
    stable_status: Floats
    candidate_seconds: Floats
    stable_seconds: Floats
    candidate_score: Floats
    stable_score: Floats
    parity: Floats
    replayed: Booleans
    instrument: np.ndarray[tuple[int], np.dtype[np.object_]]

    def __len__(self) -> int:
        return len(self.stage)

    @classmethod
    def of(cls, stage: Stage, pairs: Sequence[Pair]) -> Columns:
        """The pairs of one stage."""
        return cls(
            np.full(len(pairs), float(stage.number)),
            _floats([p.candidate_status for p in pairs]),
            _floats([p.stable_status for p in pairs]),
            _floats([p.candidate_seconds for p in pairs]),
            _floats([p.stable_seconds for p in pairs]),
            _floats([p.candidate_score for p in pairs]),
            _floats([p.stable_score for p in pairs]),
            _floats([p.parity_difference for p in pairs]),
            np.array([p.replayed for p in pairs], dtype=bool),
            np.array([p.instrument for p in pairs], dtype=object),
        )

    def followed_by(self, later: Columns) -> Columns:
        names = [f.name for f in fields(self)]
        return Columns(*(np.concatenate([getattr(self, n), getattr(later, n)]) for n in names))

    def within(self, stage: Stage) -> Booleans:
        return np.equal(self.stage, stage.number)

    @property
    def candidate_failed(self) -> Booleans:
        return np.not_equal(self.candidate_status, ANSWERED)

    @property
    def stable_asked(self) -> Booleans:
        return ~np.isnan(self.stable_status)

    @property
    def stable_failed(self) -> Booleans:
        """False where it was not asked."""
        return self.stable_asked & np.not_equal(self.stable_status, ANSWERED)


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
