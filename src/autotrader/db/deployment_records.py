"""The truth of a strategy's deployment in the database.

Every change is one transaction, and changes of a strategy's rollout and routes are made one after
the other: what was checked is still so when it is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.command import to_plain
from autotrader.db.engine import reading
from autotrader.db.events import record_event
from autotrader.db.inserts import insert_all_new, insert_new, put_all
from autotrader.db.locks import serialise
from autotrader.db.questions import Question
from autotrader.db.rollout_rules import (
    event_of_revision,
    first_revision,
    is_idle,
    next_revision,
    refuse_while,
    require_planned_on,
)
from autotrader.db.tables import HEARTBEATS, PAIRS, ROLLOUT_STAGES, ROLLOUTS, ROUTES, SLOTS
from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.ports.deployment import (
    PAIRED_STATES,
    Pair,
    Rollout,
    Route,
    Routing,
    Slot,
    StageRecord,
    Watched,
    require_ready,
)
from autotrader.ports.events import Event

_OVER = [state for state in RolloutState if state.is_over]


class SqlDeploymentRecords:
    """Rollouts, routes and slots of one strategy.

    Parameters
    ----------
    engine : Engine
        Of a migrated database.
    strategy_id : str
    """

    def __init__(self, engine: Engine, strategy_id: str) -> None:
        self._engine = engine
        self._strategy_id = strategy_id
        of_strategy = ROLLOUTS.c.strategy_id == strategy_id
        self._rollouts = _select(ROLLOUTS, Rollout).where(of_strategy)
        self._active = self._rollouts.where(ROLLOUTS.c.state.not_in(_OVER))
        self._newest = self._rollouts.order_by(ROLLOUTS.c.number.desc())
        self._routes = Question(
            _select(ROUTES, Route).where(ROUTES.c.strategy_id == strategy_id).order_by(ROUTES.c.instrument),
            Route,
        )
        self._slots = Question(_select(SLOTS, Slot).where(SLOTS.c.strategy_id == strategy_id), Slot)
        self._live = Question(
            self._newest.where(ROLLOUTS.c.state == RolloutState.COMPLETED).limit(1), Rollout
        )
        self._recent = Question(self._newest.limit(sa.bindparam("limit", type_=sa.Integer)), Rollout)
        self._heartbeat = Question(
            sa.select(HEARTBEATS.c.at, HEARTBEATS.c.data).where(
                HEARTBEATS.c.strategy_id == strategy_id,
                HEARTBEATS.c.component == sa.bindparam("component", type_=HEARTBEATS.c.component.type),
            ),
            lambda at, data: (at, data),
        )
        self._routing = _routing(strategy_id)

    def routes(self) -> Sequence[Route]:
        with reading(self._engine) as connection:
            return self._routes.all(connection)

    def routing(self, instrument: str) -> Routing | None:
        with reading(self._engine) as connection:
            found = connection.execute(self._routing, {"instrument": instrument}).first()
        if found is None:
            return None
        *route, blue, green, rollout_id, candidate = found
        answering = {Color.BLUE: blue, Color.GREEN: green}
        return Routing(
            Route(*route),
            {color: endpoint for color, endpoint in answering.items() if endpoint is not None},
            None if rollout_id is None else Watched(rollout_id, candidate),
        )

    def slots(self) -> Mapping[Color, Slot]:
        with reading(self._engine) as connection:
            return {slot.color: slot for slot in self._slots.all(connection)}

    def active(self) -> Rollout | None:
        with reading(self._engine) as connection:
            return self._find_active(connection)

    def live(self) -> Rollout | None:
        with reading(self._engine) as connection:
            return self._find_live(connection)

    def find(self, rollout_id: str) -> Rollout:
        with reading(self._engine) as connection:
            return self._require(connection, rollout_id)

    def recent(self, limit: int = 10) -> Sequence[Rollout]:
        with reading(self._engine) as connection:
            return self._recent.all(connection, limit=limit)

    def stages(self, rollout_id: str) -> Sequence[StageRecord]:
        table = ROLLOUT_STAGES
        query = _select(table, StageRecord).where(table.c.rollout_id == rollout_id).order_by(table.c.id)
        with reading(self._engine) as connection:
            return [StageRecord(*row) for row in connection.execute(query)]

    def begin(self, rollout: Rollout, event: Event) -> Rollout:
        first = first_revision(rollout, self._strategy_id)
        with self._changing() as connection:
            known = self._find(connection, first.id)
            if known is not None:
                return known
            last = connection.scalar(
                sa.select(sa.func.max(ROLLOUTS.c.number)).where(ROLLOUTS.c.strategy_id == self._strategy_id)
            )
            if not insert_new(connection, ROLLOUTS, _row(first) | {"number": (last or 0) + 1}):
                active = Rollout(*connection.execute(self._active).one())
                raise refuse_while(active, f"a rollout of {first.version}")
            require_planned_on(self._find_live(connection), first)
            if first.stage is Stage.FINALIZE:
                require_ready(self._slots.all(connection), first)
            record_event(connection, event_of_revision(event, first))
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
        as_seen = sa.and_(
            ROLLOUTS.c.id == seen.id,
            ROLLOUTS.c.strategy_id == self._strategy_id,
            ROLLOUTS.c.revision == seen.revision,
            ROLLOUTS.c.state == seen.state,
        )
        with self._changing() as connection:
            stand = self._slots.all(connection) if seen_slots else ()
            if any(slot not in stand for slot in seen_slots):
                self._require(connection, seen.id)
                return None
            if not connection.execute(sa.update(ROLLOUTS).where(as_seen).values(_row(changed))).rowcount:
                self._require(connection, seen.id)
                return None
            self._put_routes(connection, routes, seen.id)
            self._put_slots(connection, slots)
            if ended is not None:
                row = _row(ended) | {"rollout_id": seen.id, "evidence": to_plain(ended.evidence)}
                connection.execute(sa.insert(ROLLOUT_STAGES).values(row))
            record_event(connection, event_of_revision(event, changed))
            return changed

    def set_slot(self, slot: Slot) -> None:
        with self._changing() as connection:
            self._put_slots(connection, [slot])

    def replace_slot(self, seen: Slot, new: Slot, *, idle: bool = False) -> bool:
        with self._changing() as connection:
            if seen not in self._slots.all(connection):
                return False
            if idle and not is_idle(seen.color, self._routes.all(connection), self._find_active(connection)):
                return False
            self._put_slots(connection, [new])
            return True

    def renew(self, rollout_id: str, *, until: datetime, now: datetime) -> bool:
        supervised = sa.and_(
            ROUTES.c.strategy_id == self._strategy_id,
            ROUTES.c.rollout_id == rollout_id,
            ROUTES.c.green_until.is_not(None),
        )
        lapsed = sa.select(sa.exists().where(supervised, ROUTES.c.green_until <= now))
        with self._changing() as connection:
            if self._require(connection, rollout_id).state.is_over or connection.scalar(lapsed):
                return False
            connection.execute(sa.update(ROUTES).where(supervised).values(green_until=until))
            return True

    def add_pairs(self, rollout_id: str, pairs: Sequence[Pair]) -> None:
        with self._engine.begin() as connection:
            # Or a reader could see a number before a lower one, whose transaction ends later.
            serialise(connection, f"pairs-{rollout_id}")
            self._require(connection, rollout_id)
            if pairs:
                insert_all_new(connection, PAIRS, [_row(pair) | {"rollout_id": rollout_id} for pair in pairs])

    def pairs(self, rollout_id: str, *, after: int = 0, limit: int = 100_000) -> Sequence[tuple[int, Pair]]:
        query = (
            _select(PAIRS, Pair)
            .add_columns(PAIRS.c.id)
            .where(PAIRS.c.rollout_id == rollout_id, PAIRS.c.id > after)
            .order_by(PAIRS.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [(number, Pair(*values)) for *values, number in connection.execute(query)]

    def forget_pairs(self, older_than: datetime) -> int:
        ended = sa.select(ROLLOUTS.c.id).where(
            ROLLOUTS.c.strategy_id == self._strategy_id,
            ROLLOUTS.c.state.in_(_OVER),
            ROLLOUTS.c.ended_at < older_than,
        )
        with self._engine.begin() as connection:
            return connection.execute(sa.delete(PAIRS).where(PAIRS.c.rollout_id.in_(ended))).rowcount

    def beat(self, component: str, at: datetime, data: Mapping[str, object] = {}) -> None:
        row = {
            "strategy_id": self._strategy_id,
            "component": component,
            "at": at,
            "data": to_plain(data),
        }
        with self._engine.begin() as connection:
            put_all(connection, HEARTBEATS, [row])

    def heartbeat(self, component: str) -> tuple[datetime, Mapping[str, object]] | None:
        with reading(self._engine) as connection:
            return self._heartbeat.first(connection, component=component)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            serialise(connection, f"deployment-{self._strategy_id}")
            yield connection

    def _find(self, connection: Connection, rollout_id: str) -> Rollout | None:
        found = connection.execute(self._rollouts.where(ROLLOUTS.c.id == rollout_id)).first()
        return None if found is None else Rollout(*found)

    def _require(self, connection: Connection, rollout_id: str) -> Rollout:
        found = self._find(connection, rollout_id)
        if found is None:
            raise NotFound(f"expected a rollout of {self._strategy_id}, was {rollout_id!r}")
        return found

    def _find_live(self, connection: Connection) -> Rollout | None:
        return self._live.first(connection)

    def _find_active(self, connection: Connection) -> Rollout | None:
        found = connection.execute(self._active).first()
        return None if found is None else Rollout(*found)

    def _epochs(self, connection: Connection) -> dict[str, int]:
        query = sa.select(ROUTES.c.instrument, ROUTES.c.epoch).where(
            ROUTES.c.strategy_id == self._strategy_id
        )
        return {row.instrument: row.epoch for row in connection.execute(query)}

    def _put_routes(
        self, connection: Connection, routes: Sequence[Route], rollout_id: str | None
    ) -> list[Route]:
        if not routes:
            return []
        epochs = self._epochs(connection)
        changed = [replace(route, epoch=epochs.get(route.instrument, 0) + 1) for route in routes]
        of_strategy = {"strategy_id": self._strategy_id, "rollout_id": rollout_id}
        put_all(connection, ROUTES, [_row(route) | of_strategy for route in changed])
        return changed

    def _put_slots(self, connection: Connection, slots: Sequence[Slot]) -> None:
        put_all(connection, SLOTS, [_row(slot) | {"strategy_id": self._strategy_id} for slot in slots])


def _select(table: sa.Table, kind: type) -> sa.Select[Any]:
    """Of the columns that are the fields of the dataclass, in their order."""
    return sa.select(*(table.c[field.name] for field in fields(kind)))


def _routing(strategy_id: str) -> sa.Select[Any]:
    """Route, endpoint of each colour and rollout that is paired, in one statement: one state of them."""
    blue, green = (SLOTS.alias(color.value) for color in Color)
    paired = sa.and_(
        ROLLOUTS.c.strategy_id == strategy_id,
        ROLLOUTS.c.state.in_(PAIRED_STATES),
        ROLLOUTS.c.stage.in_([stage for stage in Stage if stage.is_watched]),
    )
    source: sa.FromClause = ROUTES
    for slot, color in ((blue, Color.BLUE), (green, Color.GREEN)):
        source = source.outerjoin(slot, sa.and_(slot.c.strategy_id == strategy_id, slot.c.color == color))
    return (
        _select(ROUTES, Route)
        .add_columns(blue.c.endpoint, green.c.endpoint, ROLLOUTS.c.id, ROLLOUTS.c.candidate)
        .select_from(source.outerjoin(ROLLOUTS, paired))
        .where(ROUTES.c.strategy_id == strategy_id, ROUTES.c.instrument == sa.bindparam("instrument"))
    )


def _row(value: Rollout | Route | Slot | StageRecord | Pair) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}
