"""What becomes of alerts, whatever happens in whatever order, and however the clock jumps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autotrader.alerts import rules
from autotrader.domain.alerts import Severity
from autotrader.domain.thresholds import ALERTING
from autotrader.ports.alerts import Alert, AlertState, Raising, Telling

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOT_CRITICAL = [Severity.INFO, Severity.WARNING]


@dataclass
class World:
    """One fingerprint, and what people were told of it."""

    now: datetime = NOW
    live: Alert | None = None
    previously_told_at: datetime | None = None
    told: list[tuple[datetime, Telling, Alert]] = field(default_factory=list)
    accepted: list[tuple[datetime, Severity]] = field(default_factory=list)
    suppressed: int = 0
    events: int = 0

    def raise_it(self, severity: Severity, *, resolved: bool = False) -> None:
        self.events += 1
        raising = Raising("mark", "Name", severity, f"event {self.events}", self.now, resolved)
        outcome = rules.take(self.live, self.previously_told_at, raising, key=f"k{self.events}", now=self.now)
        self._apply(outcome)

    def pass_time(self, by: timedelta) -> None:
        self.now += by
        self.look()

    def look(self) -> None:
        """As the outbox does: what is due by its own word, or was stamped in the future."""
        alert = self.live
        if alert is None or alert.review_at is None:
            return
        if alert.review_at <= self.now or alert.stamped_at > self.now + ALERTING.clock_tolerance:
            self._apply(rules.review(alert, self.now, escalates=True))

    def acknowledge(self) -> None:
        if self.live:
            self.accepted.append((self.now, self.live.severity))
            self.live = rules.acknowledge(self.live, actor="alice", now=self.now)

    def _apply(self, outcome: rules.Outcome | None) -> None:
        if outcome is None:
            return
        self.suppressed += outcome.suppressed
        if outcome.tell:
            self.told.append((self.now, outcome.tell, outcome.alert))
        if outcome.alert.is_live:
            self.live = outcome.alert
        else:
            self.previously_told_at = outcome.alert.told_at or self.previously_told_at
            self.live = None

    def kinds(self) -> list[Telling]:
        return [kind for _, kind, _ in self.told]


@pytest.mark.parametrize("severity", Severity)
def test_the_first_of_a_kind_is_told_at_once(severity: Severity) -> None:
    world = World()
    world.raise_it(severity)
    assert world.kinds() == [Telling.RAISED]
    assert world.live is not None
    assert world.live.state is AlertState.OPEN


@pytest.mark.parametrize("severity", NOT_CRITICAL)
def test_the_same_again_is_told_after_15_minutes_and_counted_before(severity: Severity) -> None:
    world = World()
    for _ in range(3):
        world.raise_it(severity)
        world.now += 5 * MINUTE - timedelta(seconds=1)
    assert (world.kinds(), world.suppressed) == ([Telling.RAISED], 2)
    world.now = NOW + ALERTING.suppress
    world.raise_it(severity)
    assert world.kinds() == [Telling.RAISED, Telling.AGAIN]
    assert world.live is not None
    assert world.live.count == 4


def test_critical_is_never_suppressed() -> None:
    world = World()
    for _ in range(5):
        world.raise_it(Severity.CRITICAL)
        world.raise_it(Severity.CRITICAL, resolved=True)
    assert world.suppressed == 0
    assert world.kinds() == [Telling.RAISED, Telling.RESOLVED] * 5


def test_one_that_comes_back_soon_is_held_back_and_told_when_it_stays() -> None:
    world = World()
    world.raise_it(Severity.WARNING)
    world.raise_it(Severity.WARNING, resolved=True)
    world.now += MINUTE
    world.raise_it(Severity.WARNING)
    assert world.live is not None
    assert world.live.state is AlertState.SUPPRESSED
    world.pass_time(13 * MINUTE)
    assert world.kinds() == [Telling.RAISED, Telling.RESOLVED]
    world.pass_time(MINUTE)
    assert world.kinds()[-1] is Telling.RAISED
    assert world.live.state is AlertState.OPEN


def test_one_that_comes_back_and_goes_again_is_not_told() -> None:
    world = World()
    for _ in range(10):
        world.raise_it(Severity.WARNING)
        world.raise_it(Severity.WARNING, resolved=True)
        world.pass_time(timedelta(seconds=80))
    assert world.kinds() == [Telling.RAISED, Telling.RESOLVED]


@pytest.mark.parametrize(
    ("severity", "wait"),
    [(Severity.CRITICAL, 5 * MINUTE), (Severity.WARNING, 60 * MINUTE), (Severity.INFO, 60 * MINUTE)],
)
def test_what_nobody_acknowledges_is_escalated_in_time(severity: Severity, wait: timedelta) -> None:
    world = World()
    world.raise_it(severity)
    world.pass_time(wait - timedelta(seconds=1))
    assert world.kinds() == [Telling.RAISED]
    world.pass_time(timedelta(seconds=1))
    assert world.kinds() == [Telling.RAISED, Telling.ESCALATED]
    world.pass_time(wait)
    again = [Telling.ESCALATED] if severity is not Severity.INFO else []
    assert world.kinds()[2:] == again


def test_raising_it_again_does_not_put_off_the_escalation() -> None:
    world = World()
    world.raise_it(Severity.CRITICAL)
    for _ in range(5):
        world.pass_time(MINUTE)
        world.raise_it(Severity.CRITICAL)
    assert Telling.ESCALATED in world.kinds()


def test_an_acknowledged_one_is_quiet_until_it_gets_worse() -> None:
    world = World()
    world.raise_it(Severity.WARNING)
    world.acknowledge()
    world.pass_time(timedelta(hours=9))
    world.raise_it(Severity.WARNING)
    assert world.kinds() == [Telling.RAISED]
    world.raise_it(Severity.CRITICAL)
    assert world.kinds() == [Telling.RAISED, Telling.AGAIN]
    assert world.live is not None
    assert (world.live.state, world.live.acknowledged_by) == (AlertState.OPEN, None)
    world.pass_time(5 * MINUTE)
    assert world.kinds()[-1] is Telling.ESCALATED


def test_news_ends_by_itself() -> None:
    world = World()
    world.raise_it(Severity.INFO)
    world.pass_time(timedelta(hours=1))
    world.pass_time(timedelta(hours=24))
    assert world.live is None


def test_an_end_of_what_never_began_is_nothing() -> None:
    world = World()
    world.raise_it(Severity.CRITICAL, resolved=True)
    assert (world.told, world.live) == ([], None)


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    for severity, state in ((Severity.CRITICAL, AlertState.OPEN), (Severity.WARNING, AlertState.SUPPRESSED)):
        world = World()
        world.raise_it(severity)
        if state is AlertState.SUPPRESSED:
            world.raise_it(severity, resolved=True)
            world.raise_it(severity)
        assert world.live is not None
        assert world.live.state is state
        before = len(world.told)
        world.pass_time(-timedelta(days=3))
        world.pass_time(6 * MINUTE)
        assert len(world.told) > before


ACTIONS = st.one_of(
    st.tuples(st.just("raise"), st.sampled_from(Severity)),
    st.tuples(st.just("end"), st.just(Severity.INFO)),
    st.tuples(st.just("acknowledge"), st.none()),
    st.tuples(st.just("wait"), st.integers(0, 3 * 3600)),
    st.tuples(st.just("jump"), st.integers(-3 * 86400, 3 * 86400)),
)


def play(actions: list[tuple[str, object]]) -> World:
    world = World()
    for what, value in actions:
        if what in ("raise", "end"):
            world.raise_it(Severity(value), resolved=what == "end")
        elif what == "acknowledge":
            world.acknowledge()
        else:
            assert isinstance(value, int)
            world.pass_time(timedelta(seconds=value))
    return world


@settings(max_examples=120)
@given(st.lists(ACTIONS, max_size=30))
def test_whatever_happens_nothing_that_is_open_stays_untold(actions: list[tuple[str, object]]) -> None:
    world = play(actions)
    alert = world.live
    if alert is None:
        return
    if alert.state is AlertState.OPEN:
        assert any(told.id == alert.id for *_, told in world.told)
        assert alert.review_at is not None
    if alert.state is AlertState.SUPPRESSED:
        assert alert.severity is not Severity.CRITICAL
        # Once the clock goes on as it should, it is told within a quarter of an hour.
        world.look()
        world.pass_time(ALERTING.suppress + ALERTING.clock_tolerance)
        assert any(told.id == alert.id for *_, told in world.told)


@settings(max_examples=120)
@given(st.lists(ACTIONS, max_size=30))
def test_whatever_happens_a_critical_one_is_escalated_while_nobody_acknowledges(
    actions: list[tuple[str, object]],
) -> None:
    world = play(actions)
    world.raise_it(Severity.CRITICAL)
    if world.live is None or world.live.state is AlertState.ACKNOWLEDGED:
        return
    before = world.kinds().count(Telling.ESCALATED)
    world.look()
    world.pass_time(ALERTING.escalate_critical + ALERTING.clock_tolerance)
    assert world.kinds().count(Telling.ESCALATED) > before


@settings(max_examples=120)
@example(
    [
        ("raise", Severity.WARNING),
        ("end", Severity.INFO),
        ("raise", Severity.INFO),
        ("acknowledge", None),
        ("raise", Severity.WARNING),
    ]
)
@given(st.lists(ACTIONS.filter(lambda a: a[0] != "jump"), max_size=40))
def test_without_a_jump_nothing_but_critical_is_told_twice_in_15_minutes(
    actions: list[tuple[str, object]],
) -> None:
    world = play(actions)
    news = [
        (at, alert)
        for at, kind, alert in world.told
        if kind in (Telling.RAISED, Telling.AGAIN) and alert.severity is not Severity.CRITICAL
    ]
    for (first, before), (second, after) in itertools.pairwise(news):
        # Worse than what was told, or than what somebody has acknowledged since.
        known = [severity for at, severity in world.accepted if first <= at <= second] + [before.severity]
        worse = after.severity.rank > min(severity.rank for severity in known)
        assert worse or before.severity is Severity.CRITICAL or second - first >= ALERTING.suppress


@settings(max_examples=200)
@given(st.lists(ACTIONS, max_size=30))
def test_the_same_history_makes_the_same_alerts(actions: list[tuple[str, object]]) -> None:
    assert play(actions).told == play(actions).told
