"""Whatever is done to deployment records, in whatever order: one truth, told once."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import Refused
from autotrader.domain.rollout import TRANSITIONS, Color, RolloutState, Stage
from autotrader.ports.deployment import DeploymentRecords, Rollout, Route
from autotrader.ports.events import Event, EventLog, EventType
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.services import fresh_database

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
STRATEGY = "autotrader-strategy"
INSTRUMENTS = ["binance:BTCUSDT", "binance:ETHUSDT", "binance:BNBUSDT"]
SEVERAL = st.lists(st.sampled_from(INSTRUMENTS), min_size=1, unique=True)


def event(what: str, at: datetime) -> Event:
    return Event(what, EventType.DEPLOYMENT, "info", what, "test", at)


class Machine(RuleBasedStateMachine):
    """Does anything, and keeps in mind what must have come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.records, self.events = self.make()
        self.now = AT
        self.ids = itertools.count()
        self.snapshots: list[Rollout] = []
        self.current: Rollout | None = None
        self.live: Rollout | None = None
        self.routes: dict[str, Route] = {}
        self.accepted = 0

    def make(self) -> tuple[DeploymentRecords, EventLog]:
        raise NotImplementedError

    @rule(color=st.sampled_from(Color))
    def begin(self, color: Color) -> None:
        number = next(self.ids)
        rollout = Rollout(
            id=f"r{number}",
            strategy_id=STRATEGY,
            version=f"v1.{number}.0",
            previous_version=None if self.live is None else self.live.version,
            candidate=color,
            profile="fast",
            state=RolloutState.WORKING,
            stage=Stage.CANARY,
            stage_outcome=None,
            goal=Stage.FINALIZE,
            revision=1,
            requested_by="test",
            reason="",
            created_at=self.now,
            stage_since=self.now,
        )
        if self.current is not None:
            with pytest.raises(Refused, match=self.current.state):
                self.records.begin(rollout, event("begun", self.now))
            return
        if self.live is not None and self.live.candidate is color:
            with pytest.raises(Refused, match="live"):
                self.records.begin(rollout, event("begun", self.now))
            return
        self._accept(self.records.begin(rollout, event("begun", self.now)))

    @precondition(lambda self: self.snapshots)
    @rule(
        data=st.data(),
        state=st.sampled_from(RolloutState),
        instruments=SEVERAL,
        supervised_seconds=st.none() | st.integers(1, 100),
    )
    def change(
        self, data: Any, state: RolloutState, instruments: list[str], supervised_seconds: int | None
    ) -> None:
        # Mostly as it stands, sometimes as it stood.
        seen = data.draw(st.sampled_from([self.snapshots[-1], *self.snapshots]))
        new = replace(seen, state=state, ended_at=self.now if state.is_over else None)
        routes = [self._route(name, seen.candidate, supervised_seconds) for name in instruments]
        told = event("changed", self.now)
        if state not in TRANSITIONS[seen.state]:
            with pytest.raises(Refused):
                self.records.change(seen, new, told, routes=routes)
            return
        changed = self.records.change(seen, new, told, routes=routes)
        assert (changed is None) == (seen != self.current)
        if changed is not None:
            self._accept(changed)
            self._put(routes, seen.id)

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data(), seconds=st.integers(1, 100))
    def renew(self, data: Any, seconds: int) -> None:
        rollout = data.draw(st.sampled_from(self.snapshots))
        until = self.now + timedelta(seconds=seconds)
        own = {
            name: route.green_until
            for name, route in self.routes.items()
            if route.rollout_id == rollout.id and route.green_until is not None
        }
        is_current = self.current is not None and self.current.id == rollout.id
        lives = is_current and all(self.now < green_until for green_until in own.values())
        assert self.records.renew(rollout.id, until=until, now=self.now) is lives
        if lives:
            for name in own:
                self.routes[name] = replace(self.routes[name], green_until=until)

    @rule(seconds=st.integers(1, 120))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def it_is_as_it_was_accepted(self) -> None:
        assert self.records.active() == self.current
        under_way = [r for r in self.records.recent(1000) if not r.state.is_over]
        assert under_way == ([] if self.current is None else [self.current])
        assert self.records.routes() == [self.routes[name] for name in sorted(self.routes)]
        for name in INSTRUMENTS:
            found = self.records.routing(name)
            assert (None if found is None else found.route) == self.routes.get(name)

    @invariant()
    def each_accepted_transition_is_told_once(self) -> None:
        assert len(self.events.recent(limit=10_000)) == self.accepted

    @invariant()
    def at_any_instant_an_instrument_is_ones_or_nobodys(self) -> None:
        for route in self.records.routes():
            lapses = route.green_until
            for at in (self.now, lapses or self.now, (lapses or self.now) - timedelta(microseconds=1)):
                owner = route.owner(at)
                assert owner in (Color.BLUE, Color.GREEN, None)
                assert owner is (route.color if lapses is None or at < lapses else route.fallback)

    def _accept(self, rollout: Rollout) -> None:
        before = self.current
        assert rollout.revision == (1 if before is None else before.revision + 1)
        self.accepted += 1
        self.snapshots.append(rollout)
        self.current = None if rollout.state.is_over else rollout
        if rollout.state is RolloutState.COMPLETED:
            self.live = rollout

    def _route(self, instrument: str, color: Color, seconds: int | None) -> Route:
        until = None if seconds is None else self.now + timedelta(seconds=seconds)
        return Route(instrument, color, color.other, 0, until, self.now, "test")

    def _epoch(self, instrument: str) -> int:
        return self.routes[instrument].epoch if instrument in self.routes else 0

    def _put(self, routes: list[Route], rollout_id: str) -> None:
        for route in routes:
            epoch = self._epoch(route.instrument) + 1
            self.routes[route.instrument] = replace(route, epoch=epoch, rollout_id=rollout_id)


class InMemoryMachine(Machine):
    def make(self) -> tuple[DeploymentRecords, EventLog]:
        records = InMemoryDeploymentRecords(STRATEGY)
        return records, records.events


class SqlMachine(Machine):
    def make(self) -> tuple[DeploymentRecords, EventLog]:
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_database(fresh_database("sqlite", Path(self.folder.name)))
        return SqlDeploymentRecords(self.engine, STRATEGY), SqlEventLog(self.engine)

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()


@pytest.mark.parametrize(
    ("machine", "examples"),
    [
        (InMemoryMachine, 30),
        (SqlMachine, 5),
        pytest.param(SqlMachine, 60, marks=pytest.mark.integration),
    ],
)
def test_there_is_one_truth_and_each_change_of_it_is_told_once(machine: type[Machine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(max_examples=examples, stateful_step_count=25),
    )
