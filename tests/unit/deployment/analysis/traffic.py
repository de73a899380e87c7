"""Pairs and health reports as a rollout would bring them, with planted faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from autotrader.deployment.analysis import HealthObservation, Look, RolloutAnalysis
from autotrader.domain.rollout import Outcome, Profile, Stage
from autotrader.ports.deployment import Pair, SlotHealth

BEGIN = datetime(2024, 2, 29, tzinfo=UTC)
INSTRUMENT = "binance:BTCUSDT"
MIB = 2**20


@dataclass(frozen=True)
class Candidate:
    """How it behaves; `stable` says whether there is a colour beside it, which errs as told."""

    errors: float = 0.0
    stable_errors: float = 0.0
    slower: float = 1.0
    parity: float | None = 2e-7
    stable: bool = True


def pairs(count: int, candidate: Candidate = Candidate(), *, seed: int = 1, first: int = 0) -> list[Pair]:
    random = np.random.default_rng((seed, first))
    failed = random.random((count, 2)) < (candidate.errors, candidate.stable_errors)
    seconds = random.lognormal(-5.0, 0.6, (count, 2)) * (candidate.slower, 1.0)
    scores = random.uniform(-0.5, 0.5, (count, 2))
    return [
        Pair(
            request_id=f"request-{first + i}",
            instrument=INSTRUMENT,
            ts=BEGIN,
            replayed=True,
            stable_status=(503 if failed[i, 1] else 200) if candidate.stable else None,
            candidate_status=0 if failed[i, 0] else 200,
            stable_seconds=float(seconds[i, 1]) if candidate.stable else None,
            candidate_seconds=float(seconds[i, 0]),
            stable_score=float(scores[i, 1]) if candidate.stable and not failed[i, 1] else None,
            candidate_score=None if failed[i, 0] else float(scores[i, 0]),
            parity_difference=None if failed[i, 0] else candidate.parity,
        )
        for i in range(count)
    ]


def health(*ready: bool, memory_mib: Sequence[float | None] = ()) -> list[HealthObservation]:
    """One observation a minute; all ready if not said otherwise."""
    states = ready or (True,) * max(len(memory_mib), 6)
    sizes = memory_mib or (60.0,) * len(states)
    return [
        HealthObservation(
            BEGIN + timedelta(minutes=i),
            SlotHealth(
                True, state, "v1.0.0", "" if state else "loading", None if size is None else round(size * MIB)
            ),
        )
        for i, (state, size) in enumerate(zip(states, sizes, strict=True))
    ]


def look(analysis: RolloutAnalysis, stage: Stage = Stage.SHADOW, **given: object) -> Look:
    """A look of which nothing but the pairs, and what is given, is out of order."""
    arguments = {"health": health(), "breaker_tripped": False, "guards": None, "final": False, **given}
    return analysis.look(stage, **arguments)  # type: ignore[arg-type]


def outcome_of(seen: Look, name: str) -> Outcome:
    (check,) = [c for c in seen.checks if c.name == name]
    return check.outcome


def run(
    profile: Profile, candidate: Candidate, *, seed: int = 1, stages: Sequence[Stage] | None = None
) -> tuple[Look, Stage, int]:
    """A rollout as the controller leads it: the look that ended it, its stage, the requests until then."""
    analysis = RolloutAnalysis(profile, has_stable=candidate.stable)
    each = round(profile.requests_per_second * profile.check_seconds)
    sent = 0
    for stage in stages or profile.watch_seconds:
        looks = int(profile.watch_seconds[stage] // profile.check_seconds)
        for nth in range(looks):
            analysis.add(stage, pairs(each, candidate, seed=seed, first=sent))
            sent += each
            seen = look(analysis, stage, final=nth == looks - 1)
            if seen.outcome is Outcome.FAIL:
                return seen, stage, sent
        if seen.outcome is not Outcome.PASS:
            break
    return seen, stage, sent
