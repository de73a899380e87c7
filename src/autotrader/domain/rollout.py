"""A rollout: how a model version takes over traffic, stage by stage, and how it is taken back.

Two colours serve predictions. One is *stable*: what traffic returns to. The other holds the
*candidate* while a rollout is under way; when it is finalised, the candidate's colour is the stable
one. Which physical colour plays which part is state, never assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Color(StrEnum):
    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Color:
        return Color.GREEN if self is Color.BLUE else Color.BLUE


class Stage(StrEnum):
    """In order. Each holds the instruments of the one before."""

    PRE_DEPLOY_CHECKS = "pre_deploy_checks"
    DEPLOY_GREEN = "deploy_green"
    INTEGRATION_TESTS = "run_integration_tests"
    SHADOW = "shadow"
    CANARY = "canary"
    QUARTER = "25_percent"
    HALF = "50_percent"
    FULL = "100_percent"
    FINALIZE = "finalize"

    @property
    def number(self) -> int:
        return list(Stage).index(self)

    @property
    def following(self) -> Stage | None:
        """The next stage; None after the last."""
        stages = list(Stage)
        return stages[self.number + 1] if self.number + 1 < len(stages) else None

    @property
    def is_watched(self) -> bool:
        """Whether both colours answer requests and are compared."""
        return Stage.SHADOW.number <= self.number <= Stage.FULL.number


class RolloutState(StrEnum):
    """What a rollout is doing.

    working -> working            a stage began, or ended with a pass
    working -> paused             a watch ended inconclusive: a person decides
    paused  -> paused             somebody asked for a later stage
    paused  -> working            a person said go on
    working | paused -> rolling_back -> rolled_back
    working -> completed          finalised
    """

    WORKING = "working"
    PAUSED = "paused"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    COMPLETED = "completed"

    @property
    def is_over(self) -> bool:
        return self in (RolloutState.ROLLED_BACK, RolloutState.COMPLETED)


TRANSITIONS: dict[RolloutState, frozenset[RolloutState]] = {
    RolloutState.WORKING: frozenset(
        {RolloutState.WORKING, RolloutState.PAUSED, RolloutState.ROLLING_BACK, RolloutState.COMPLETED}
    ),
    RolloutState.PAUSED: frozenset({RolloutState.PAUSED, RolloutState.WORKING, RolloutState.ROLLING_BACK}),
    RolloutState.ROLLING_BACK: frozenset({RolloutState.ROLLED_BACK}),
    RolloutState.ROLLED_BACK: frozenset(),
    RolloutState.COMPLETED: frozenset(),
}


class Outcome(StrEnum):
    """What a check, a look or a stage came to."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Profile:
    """How long each stage is watched, how often it is looked at, and how much is replayed.

    Attributes
    ----------
    name : str
    watch_seconds : Mapping of Stage to float
        Wall time. A watched stage that is not named is left out.
    check_seconds : float
        Between two looks.
    requests_per_second : float
        That the replay driver sends to both colours.
    """

    name: str
    watch_seconds: Mapping[Stage, float]
    check_seconds: float
    requests_per_second: float

    @property
    def looks(self) -> int:
        """Looks of a whole rollout, the last of each stage included."""
        return sum(math.ceil(seconds / self.check_seconds) for seconds in self.watch_seconds.values())


# Contract: watches and looks of `standard`, and its 10 requests a second.
STANDARD = Profile(
    "standard",
    {Stage.SHADOW: 900, Stage.CANARY: 3600, Stage.QUARTER: 1800, Stage.HALF: 1800, Stage.FULL: 3600},
    check_seconds=60,
    requests_per_second=10,
)
# For replayed time. The tests need some 500 pairs without an error to tell an error rate of nearly
# nothing from one of 1 %: shadow gives them time, and evidence runs on through the later stages.
FAST = Profile(
    "fast",
    {Stage.SHADOW: 12, Stage.CANARY: 8, Stage.QUARTER: 6, Stage.HALF: 6, Stage.FULL: 8},
    check_seconds=1,
    requests_per_second=100,
)
# Back to a version that was live before, or an operator's own switch: nothing is compared.
DIRECT = Profile("direct", {}, check_seconds=1, requests_per_second=0)
PROFILES = {profile.name: profile for profile in (STANDARD, FAST, DIRECT)}

_SHARE = {Stage.QUARTER: 0.25, Stage.HALF: 0.5, Stage.FULL: 1.0}


def scope(stage: Stage, instruments: Sequence[str], canaries: Sequence[str]) -> tuple[str, ...]:
    """Instruments that the candidate owns in this stage: nested, in a fixed order.

    Parameters
    ----------
    stage : Stage
    instruments : sequence of str
        All of the strategy, `venue:symbol`.
    canaries : sequence of str
        Symbols that go first. Where the strategy has none of them, its first instrument does.
    """
    if stage.number < Stage.CANARY.number:
        return ()
    first = [i for i in instruments if i.partition(":")[2] in canaries] or list(instruments[:1])
    ordered = [*first, *(i for i in instruments if i not in first)]
    share = _SHARE.get(stage, 1.0 if stage is Stage.FINALIZE else 0.0)
    return tuple(ordered[: max(len(first), math.ceil(share * len(ordered)))])


def next_stage(
    stage: Stage, profile: Profile, instruments: Sequence[str], canaries: Sequence[str]
) -> Stage | None:
    """The stage that follows under this profile; None after the last.

    A watched stage that the profile does not watch, or that takes on no further instrument, is
    skipped; shadow takes on none by nature, and the first with all of them is never skipped.
    """
    owned = scope(stage, instruments, canaries)
    following = stage.following
    while following is not None and following.is_watched:
        widens = following is Stage.SHADOW or scope(following, instruments, canaries) != owned
        if following in profile.watch_seconds and widens:
            return following
        following = following.following
    return following
