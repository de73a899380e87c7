"""What a watch knows after the controller was started again: the same as if it had gone on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from autotrader.apps.controller import watching
from autotrader.apps.controller.watching import _Watched
from autotrader.config.settings import Settings
from autotrader.deployment.analysis.health import HealthObservation
from autotrader.deployment.analysis.results import Look
from autotrader.deployment.replay import ReplayRows
from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage
from autotrader.ports.deployment import Pair, Rollout, SlotHealth, StageRecord
from autotrader.ports.events import Event, EventType
from tests.fakes.deployment import InMemoryDeploymentRecords

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
BTC = "binance:BTCUSDT"
EVENT = Event("told", EventType.DEPLOYMENT, "info", "told", "test", AT)
HEALTHY = HealthObservation(AT, SlotHealth(live=True, ready=True, version="v1.1.0", reason="ready"))
ROWS = ReplayRows((BTC,), np.zeros(1, np.int64), np.zeros((1, 1), np.float32), ("a",), "of a test")
ROLLOUT = Rollout(
    id="r1",
    strategy_id="autotrader-strategy",
    version="v1.1.0",
    previous_version="v1.0.0",
    candidate=Color.GREEN,
    profile="fast",
    state=RolloutState.WORKING,
    stage=Stage.SHADOW,
    stage_outcome=None,
    goal=Stage.FINALIZE,
    revision=1,
    requested_by="test",
    reason="",
    created_at=AT,
    stage_since=AT,
)


class Records(InMemoryDeploymentRecords):
    """Hands out few pairs at a time."""

    def pairs(self, rollout_id: str, *, after: int = 0, limit: int = 64) -> Sequence[tuple[int, Pair]]:
        return super().pairs(rollout_id, after=after, limit=limit)


class Trial:
    """A rollout whose pairs are added by hand."""

    def __init__(self) -> None:
        self.records = Records()
        first = replace(ROLLOUT, id="r0", version="v1.0.0", previous_version=None, candidate=Color.BLUE)
        begun = self.records.begin(first, EVENT)
        assert self.records.change(begun, replace(begun, state=RolloutState.COMPLETED, ended_at=AT), EVENT)
        self.rollout = self.records.begin(ROLLOUT, EVENT)
        self._count = 0

    def answer(self, count: int, *, status: int = 200) -> None:
        pairs = []
        for _ in range(count):
            self._count += 1
            ts = AT + timedelta(minutes=self._count)
            pairs.append(Pair(f"q{self._count}", BTC, ts, True, 200, status, 0.001, 0.001, 0.1, 0.1, 0.0))
        self.records.add_pairs("r1", pairs)

    def look(self, watched: _Watched) -> Look:
        return watched.look(self.rollout, self.records, HEALTHY, owned=[BTC], final=False)

    def end_stage(self, watched: _Watched, following: Stage | None, outcome: Outcome = Outcome.PASS) -> None:
        """As the controller does it: what the last look read is in the stage's record."""
        look = self.look(watched)
        ended = StageRecord(self.rollout.stage, outcome, "", 1.0, watched.evidence(look))
        new = replace(self.rollout, stage=following or self.rollout.stage)
        changed = self.records.change(self.rollout, new, EVENT, ended=ended)
        assert changed is not None
        self.rollout = changed


def begin() -> _Watched:
    """A watch that knows nothing yet, as after a start of the controller."""
    nothing: Any = SimpleNamespace()
    return _Watched(ROLLOUT, nothing, ROWS, nothing, None, Settings(_env_file=None), nothing)


def counted(look: Look) -> tuple[int, int]:
    """Requests of the stage, and in all."""
    (check,) = [c for c in look.checks if c.name == "requests"]
    return cast("int", check.evidence["requests_of_stage"]), cast("int", check.evidence["requests"])


@pytest.fixture
def trial() -> Trial:
    return Trial()


def test_in_the_first_watched_stage_all_that_was_answered_is_its_own(trial: Trial) -> None:
    trial.answer(150)
    assert counted(trial.look(begin())) == (150, 150)


def test_pairs_of_stages_that_ended_are_not_the_later_ones(trial: Trial) -> None:
    watched = begin()
    for following, count in ((Stage.CANARY, 150), (Stage.QUARTER, 40)):
        trial.answer(count)
        trial.end_stage(watched, following)
    trial.answer(7)
    assert counted(trial.look(begin())) == counted(trial.look(watched)) == (7, 197)


def test_a_watch_that_was_begun_anew_says_what_the_one_before_said(trial: Trial) -> None:
    watched = begin()
    trial.answer(150)
    trial.answer(5, status=500)
    trial.end_stage(watched, Stage.CANARY)
    trial.answer(90)
    trial.look(watched)
    trial.answer(3, status=500)
    again = begin()
    before, after = trial.look(watched), trial.look(again)
    # Health is what was seen since the start; all else is of the pairs.
    judged = [[c for c in look.checks if c.name not in ("health", "memory")] for look in (before, after)]
    assert judged[0] == judged[1]
    assert again.evidence(after)["last_pair"] == watched.evidence(before)["last_pair"] == 248


def test_a_stage_that_ended_twice_read_as_far_as_the_second_says(trial: Trial) -> None:
    watched = begin()
    trial.answer(100)
    trial.end_stage(watched, None, Outcome.INCONCLUSIVE)
    trial.answer(60)
    trial.end_stage(watched, Stage.CANARY)
    assert counted(trial.look(begin())) == counted(trial.look(watched)) == (0, 160)


def test_of_a_stage_that_waits_for_long_the_last_health_is_kept(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "HEALTH_OBSERVATIONS", 4)
    watched = begin()
    for _ in range(6):
        (check,) = [c for c in trial.look(watched).checks if c.name == "health"]
    assert check.evidence["observations"] == 4
    trial.end_stage(watched, Stage.CANARY)
    (check,) = [c for c in trial.look(watched).checks if c.name == "health"]
    assert check.evidence["observations"] == 1


def test_what_is_answered_later_is_added_once(trial: Trial) -> None:
    trial.answer(100)
    trial.end_stage(begin(), Stage.CANARY)
    again = begin()
    trial.look(again)
    trial.answer(30)
    assert counted(trial.look(again)) == (30, 130)
    assert counted(trial.look(again)) == (30, 130)
