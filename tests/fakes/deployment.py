"""Deployment records that forget with the process; threads may share them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from autotrader.command import to_plain
from autotrader.db.rollout_rules import (
    event_of_revision,
    first_revision,
    is_idle,
    next_revision,
    refuse_while,
    require_planned_on,
)
from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.ports.deployment import (
    Pair,
    Rollout,
    Route,
    Routing,
    Slot,
    StageRecord,
    Watched,
    require_ready,
)
from autotrader.ports.events import Event, EventLog
from tests.fakes.events import InMemoryEventLog


class InMemoryDeploymentRecords:
    def __init__(self, strategy_id: str = "autotrader-strategy", events: EventLog | None = None) -> None:
        self.events = events or InMemoryEventLog()
        self._strategy_id = strategy_id
        self._lock = threading.RLock()
        self._rollouts: dict[str, Rollout] = {}
        self._stages: dict[str, list[StageRecord]] = {}
        self._routes: dict[str, Route] = {}
        self._slots: dict[Color, Slot] = {}
        self._pairs: dict[str, dict[str, tuple[int, Pair]]] = {}
        self._pair_count = 0
        self._beats: dict[str, tuple[datetime, Mapping[str, object]]] = {}

    def routes(self) -> Sequence[Route]:
        with self._lock:
            return [self._routes[instrument] for instrument in sorted(self._routes)]

    def routing(self, instrument: str) -> Routing | None:
        with self._lock:
            route = self._routes.get(instrument)
            if route is None:
                return None
            endpoints = {color: slot.endpoint for color, slot in self._slots.items() if slot.endpoint}
            rollout = self.active()
            watched = Watched(rollout.id, rollout.candidate) if rollout and rollout.is_paired else None
            return Routing(route, endpoints, watched)

    def slots(self) -> Mapping[Color, Slot]:
        with self._lock:
            return dict(self._slots)

    def active(self) -> Rollout | None:
        with self._lock:
            return next((r for r in self._rollouts.values() if not r.state.is_over), None)

    def live(self) -> Rollout | None:
        return next((r for r in self.recent(len(self._rollouts)) if r.state is RolloutState.COMPLETED), None)

    def find(self, rollout_id: str) -> Rollout:
        with self._lock:
            if rollout_id not in self._rollouts:
                raise NotFound(f"expected a rollout of {self._strategy_id}, was {rollout_id!r}")
            return self._rollouts[rollout_id]

    def recent(self, limit: int = 10) -> Sequence[Rollout]:
        with self._lock:
            return list(reversed(self._rollouts.values()))[:limit]

    def stages(self, rollout_id: str) -> Sequence[StageRecord]:
        with self._lock:
            return list(self._stages.get(rollout_id, []))

    def begin(self, rollout: Rollout, event: Event) -> Rollout:
        first = first_revision(rollout, self._strategy_id)
        with self._lock:
            if rollout.id in self._rollouts:
                return self._rollouts[rollout.id]
            active = self.active()
            if active is not None:
                raise refuse_while(active, f"a rollout of {rollout.version}")
            require_planned_on(self.live(), first)
            if first.stage is Stage.FINALIZE:
                require_ready(self._slots.values(), first)
            self._rollouts[first.id] = first
            self.events.record(event_of_revision(event, first))
            return first

    def change(
        self,
        seen: Rollout,
        new: Rollout,
        event: Event,
        *,
        routes: Sequence[Route] = (),
        slots: Sequence[Slot] = (),
        seen_slots: Sequence[Slot] = (),
        ended: StageRecord | None = None,
    ) -> Rollout | None:
        changed = next_revision(seen, new)
        with self._lock:
            stands = self.find(seen.id)
            if (stands.revision, stands.state) != (seen.revision, seen.state):
                return None
            if any(self._slots.get(slot.color) != slot for slot in seen_slots):
                return None
            self._rollouts[seen.id] = changed
            self._put(routes, slots, seen.id)
            if ended is not None:
                plain = replace(ended, evidence=to_plain(ended.evidence))
                self._stages.setdefault(seen.id, []).append(plain)
            self.events.record(event_of_revision(event, changed))
            return changed

    def set_slot(self, slot: Slot) -> None:
        with self._lock:
            self._slots[slot.color] = slot

    def replace_slot(self, seen: Slot, new: Slot, *, idle: bool = False) -> bool:
        with self._lock:
            if self._slots.get(seen.color) != seen:
                return False
            if idle and not is_idle(seen.color, self._routes.values(), self.active()):
                return False
            self._slots[new.color] = new
            return True

    def renew(self, rollout_id: str, *, until: datetime, now: datetime) -> bool:
        with self._lock:
            if self.find(rollout_id).state.is_over:
                return False
            own = {
                instrument: route.green_until
                for instrument, route in self._routes.items()
                if route.rollout_id == rollout_id and route.green_until is not None
            }
            if any(green_until <= now for green_until in own.values()):
                return False
            for instrument in own:
                self._routes[instrument] = replace(self._routes[instrument], green_until=until)
            return True

    def add_pairs(self, rollout_id: str, pairs: Sequence[Pair]) -> None:
        with self._lock:
            self.find(rollout_id)
            there = self._pairs.setdefault(rollout_id, {})
            for pair in pairs:
                if pair.request_id not in there:
                    self._pair_count += 1
                    there[pair.request_id] = (self._pair_count, pair)

    def pairs(self, rollout_id: str, *, after: int = 0, limit: int = 100_000) -> Sequence[tuple[int, Pair]]:
        with self._lock:
            numbered = self._pairs.get(rollout_id, {}).values()
            return [(number, pair) for number, pair in numbered if number > after][:limit]

    def forget_pairs(self, older_than: datetime) -> int:
        with self._lock:
            ended = {r.id: r.ended_at for r in self._rollouts.values() if r.state.is_over}
            old = [id_ for id_, at in ended.items() if at is not None and at < older_than]
            return sum(len(self._pairs.pop(id_, {})) for id_ in old)

    def beat(self, component: str, at: datetime, data: Mapping[str, object] = {}) -> None:
        with self._lock:
            self._beats[component] = (at, to_plain(data))

    def heartbeat(self, component: str) -> tuple[datetime, Mapping[str, object]] | None:
        with self._lock:
            return self._beats.get(component)

    def _epoch(self, instrument: str) -> int:
        route = self._routes.get(instrument)
        return route.epoch if route else 0

    def _put(self, routes: Sequence[Route], slots: Sequence[Slot], rollout_id: str | None) -> list[Route]:
        changed = [
            replace(route, epoch=self._epoch(route.instrument) + 1, rollout_id=rollout_id) for route in routes
        ]
        for route in changed:
            self._routes[route.instrument] = route
        for slot in slots:
            self._slots[slot.color] = slot
        return changed
