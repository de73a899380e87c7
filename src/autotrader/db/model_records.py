"""The registry's truth: versions, aliases, and every change of them, in order.

A change is decided here, in one transaction with its row in `model_changes`; what the row still
asks for (its event, its showing in MLflow) is done afterwards and may be done again. A version
without a number is an intention: its semver is taken, but readers do not see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.db.engine import reading
from autotrader.db.locks import serialise
from autotrader.db.model_decisions import decide_alias, decide_status
from autotrader.db.model_rows import (
    ADOPTED,
    FOUND,
    LOST,
    REGISTERED,
    Change,
    Record,
    find_record,
    journal,
    named,
    select_records,
)
from autotrader.db.tables import MODEL_ALIASES, MODEL_CHANGES, MODEL_VERSIONS
from autotrader.domain.errors import Refused
from autotrader.ports.registry import Alias, AliasChange, ModelStatus, ModelVersion, StatusChange
from autotrader.registry.semver import Semver, next_semver


class ModelRecords:
    """Reads and decides; never talks to MLflow."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, name: str) -> Sequence[Record]:
        """Every record of the name, intentions too, oldest first."""
        with reading(self._engine) as connection:
            return select_records(connection, MODEL_VERSIONS.c.name == name)

    def registered(self, name: str) -> Sequence[Record]:
        """The records that readers see, oldest first."""
        return [record for record in self.all(name) if record.is_registered]

    def find(self, name: str, version: str) -> Record | None:
        """A registered version by semver, number or alias."""
        with reading(self._engine) as connection:
            return find_record(connection, name, version)

    def aliases(self, name: str) -> dict[Alias, int | None]:
        """The number that each alias was pointed at; None where it was removed."""
        query = (
            sa.select(MODEL_ALIASES.c.alias, MODEL_VERSIONS.c.number)
            .select_from(MODEL_ALIASES.outerjoin(MODEL_VERSIONS))
            .where(MODEL_ALIASES.c.name == name)
        )
        with reading(self._engine) as connection:
            return {Alias(alias): number for alias, number in connection.execute(query)}

    def intend(
        self,
        *,
        name: str,
        training_key: str,
        run_id: str,
        status: ModelStatus,
        reason: str,
        tags: Mapping[str, str],
        digests: Mapping[str, str],
        taken: Iterable[Semver],
        actor: str,
        at: datetime,
    ) -> Record:
        """Reserve a semver for a version to come; the same key again keeps its number.

        Raises
        ------
        Refused
            If another version was made by the same run: it would overwrite that one's artefacts.
        """
        ours = sa.and_(MODEL_VERSIONS.c.name == name, MODEL_VERSIONS.c.training_key == training_key)
        row: dict[str, object] = {
            "run_id": run_id,
            "status": status.value,
            "reason": reason,
            "tags": dict(tags),
            "digests": dict(digests),
            "actor": actor,
            "created_at": at,
        }
        with self._engine.begin() as connection:
            serialise(connection, f"registry:{name}")
            rival = connection.scalar(
                sa.select(MODEL_VERSIONS.c.training_key).where(
                    MODEL_VERSIONS.c.name == name,
                    MODEL_VERSIONS.c.run_id == run_id,
                    MODEL_VERSIONS.c.training_key != training_key,
                )
            )
            if rival is not None:
                raise Refused(
                    f"expected a run of its own for the model, was {run_id}, which holds that of "
                    f"training key {rival}: register each model from its own run"
                )
            if not connection.execute(sa.update(MODEL_VERSIONS).where(ours).values(row)).rowcount:
                known = (Semver.parse(r.version.semver) for r in select_records(connection, named(name)))
                semver = next_semver({*taken, *(s for s in known if s)})
                identity = {"name": name, "training_key": training_key, **semver._asdict()}
                connection.execute(sa.insert(MODEL_VERSIONS).values(row | identity))
            return select_records(connection, ours)[0]

    def finish(self, record: Record, *, number: int, source: str, at: datetime) -> None:
        """The intention became a version of this number, or one that was lost is there again."""
        kind = FOUND if record.source else REGISTERED
        with self._engine.begin() as connection:
            serialise(connection, f"registry:{record.version.name}")
            finished = connection.execute(
                sa.update(MODEL_VERSIONS)
                .where(MODEL_VERSIONS.c.id == record.id, MODEL_VERSIONS.c.number.is_(None))
                .values(number=number, source=source)
            ).rowcount
            if finished:
                new = record.version.status.value
                why, who = record.version.reason, record.actor
                journal(connection, record, kind, None, new, why, who, at, projected=True)

    def lose(self, record: Record, *, actor: str, at: datetime) -> None:
        """The registry's server has the version no more: it is an intention again.

        Its status and aliases are kept, so that it is what it was when the server is restored.
        """
        with self._engine.begin() as connection:
            serialise(connection, f"registry:{record.version.name}")
            lost = connection.execute(
                sa.update(MODEL_VERSIONS)
                .where(MODEL_VERSIONS.c.id == record.id, MODEL_VERSIONS.c.number == record.version.version)
                .values(number=None)
            ).rowcount
            if lost:
                old, reason = record.version.status.value, "not in MLflow"
                journal(connection, record, LOST, old, None, reason, actor, at, projected=True)

    def adopt(
        self, version: ModelVersion, *, digests: Mapping[str, str], source: str, actor: str, at: datetime
    ) -> None:
        """Take in a whole version that the registry's server knows and we do not."""
        semver = Semver.parse(version.semver)
        assert semver is not None  # noqa: S101 - a whole version has one
        row = {
            "name": version.name,
            "training_key": version.tags["training_key"],
            **semver._asdict(),
            "number": version.version,
            "status": version.status.value,
            "reason": version.reason,
            "run_id": version.run_id,
            "tags": dict(version.tags),
            "digests": dict(digests),
            "source": source,
            "actor": actor,
            "created_at": version.created_at,
        }
        with self._engine.begin() as connection:
            serialise(connection, f"registry:{version.name}")
            connection.execute(sa.insert(MODEL_VERSIONS).values(row))
            record = find_record(connection, version.name, version.semver)
            assert record is not None  # noqa: S101 - inserted two lines above
            journal(
                connection,
                record,
                ADOPTED,
                None,
                version.status.value,
                version.reason,
                actor,
                at,
                projected=True,
            )

    def decide(
        self,
        name: str,
        changes: Sequence[StatusChange | AliasChange],
        *,
        reason: str,
        actor: str,
        at: datetime,
        projected: bool = False,
    ) -> None:
        """Make the changes, all or none; one that is made already is left out.

        `projected` says that MLflow shows them already.

        Raises
        ------
        NotFound, Refused
        """
        with self._engine.begin() as connection:
            serialise(connection, f"registry:{name}")
            for change in changes:
                match change:
                    case StatusChange():
                        decided = decide_status(connection, name, change, reason)
                    case AliasChange():
                        decided = decide_alias(connection, name, change)
                if decided:
                    journal(connection, *decided, reason, actor, at, projected=projected)

    def unrecorded(self, name: str) -> Sequence[Change]:
        """Changes whose event is still to be recorded, oldest first."""
        return self._changes(name, MODEL_CHANGES.c.recorded.is_(False))

    def pending(self, name: str) -> Sequence[Change]:
        """Changes that MLflow does not show yet, oldest first."""
        return self._changes(name, MODEL_CHANGES.c.projected.is_(False))

    def mark_recorded(self, change: Change) -> None:
        self._mark(MODEL_CHANGES.c.id == change.id, recorded=True)

    def mark_projected(self, changes: Sequence[Change]) -> None:
        if changes:
            self._mark(MODEL_CHANGES.c.id.in_([c.id for c in changes]), projected=True)

    def _mark(self, which: sa.ColumnElement[bool], **values: bool) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.update(MODEL_CHANGES).where(which).values(values))

    def _changes(self, name: str, condition: sa.ColumnElement[bool]) -> Sequence[Change]:
        query = (
            sa.select(MODEL_CHANGES, MODEL_VERSIONS.c.major, MODEL_VERSIONS.c.minor, MODEL_VERSIONS.c.patch)
            .join(MODEL_VERSIONS, MODEL_VERSIONS.c.id == MODEL_CHANGES.c.version_id)
            .where(MODEL_CHANGES.c.name == name, condition)
            .order_by(MODEL_CHANGES.c.id)
        )
        with reading(self._engine) as connection:
            return [
                Change(
                    id=row.id,
                    name=row.name,
                    semver=str(Semver(row.major, row.minor, row.patch)),
                    kind=row.kind,
                    old=row.old,
                    new=row.new,
                    reason=row.reason,
                    actor=row.actor,
                    at=row.at,
                )
                for row in connection.execute(query)
            ]
