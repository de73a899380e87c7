"""The registry's truth: versions, aliases, and every change of them, in order.

A change is decided here, in one transaction with its row in `model_changes`; what the row still
asks for (its event, its showing in MLflow) is done afterwards and may be done again. A version
without a number is an intention: its semver is taken, but readers do not see it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.db.engine import reading
from autotrader.db.locks import serialise
from autotrader.db.tables import MODEL_ALIASES, MODEL_CHANGES, MODEL_VERSIONS
from autotrader.domain.errors import NotFound, Refused
from autotrader.ports.registry import Alias, AliasChange, ModelStatus, ModelVersion, StatusChange
from autotrader.registry.lifecycle import require_alias_allowed, require_status_allowed
from autotrader.registry.semver import Semver, next_semver

REGISTERED = "registered"
ADOPTED = "adopted"
LOST = "lost"
FOUND = "found"
STATUS = "status"


@dataclass(frozen=True)
class Record:
    """A version with what only its adapter needs to know.

    Attributes
    ----------
    id : int
        Key of the row.
    version : ModelVersion
        As readers see it; its number is 0 while it is an intention.
    digests : Mapping[str, str]
        Artefact's file name to SHA-256 in hex.
    source : str
        Where its artefacts are kept; empty while it is an intention.
    actor : str
        Who registered it.
    """

    id: int
    version: ModelVersion
    training_key: str
    digests: Mapping[str, str]
    source: str
    actor: str

    @property
    def is_registered(self) -> bool:
        return self.version.version > 0


@dataclass(frozen=True)
class Change:
    """One row of the journal."""

    id: int
    name: str
    semver: str
    kind: str
    old: str | None
    new: str | None
    reason: str
    actor: str
    at: datetime

    def __str__(self) -> str:
        match self.kind:
            case "registered" | "adopted" | "lost" | "found":
                return f"{self.name} {self.semver}: {self.kind} as {self.new or self.old} ({self.reason})"
            case "status":
                return f"{self.name} {self.semver}: {self.old} -> {self.new} ({self.reason})"
        return f"{self.name}: {self.kind} {self.old or 'none'} -> {self.new or 'none'} ({self.reason})"


class ModelRecords:
    """Reads and decides; never talks to MLflow."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, name: str) -> Sequence[Record]:
        """Every record of the name, intentions too, oldest first."""
        with reading(self._engine) as connection:
            return _select(connection, MODEL_VERSIONS.c.name == name)

    def find(self, name: str, version: str) -> Record | None:
        """A registered version by semver, number or alias."""
        with reading(self._engine) as connection:
            return _find(connection, name, version)

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
                known = (Semver.parse(r.version.semver) for r in _select(connection, _named(name)))
                semver = next_semver({*taken, *(s for s in known if s)})
                identity = {"name": name, "training_key": training_key, **semver._asdict()}
                connection.execute(sa.insert(MODEL_VERSIONS).values(row | identity))
            return _select(connection, ours)[0]

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
                _journal(connection, record, kind, None, new, why, who, at, projected=True)

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
                _journal(connection, record, LOST, old, None, reason, actor, at, projected=True)

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
            record = _find(connection, version.name, version.semver)
            assert record is not None  # noqa: S101 - inserted two lines above
            _journal(
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
                        decided = _decide_status(connection, name, change, reason)
                    case AliasChange():
                        decided = _decide_alias(connection, name, change)
                if decided:
                    _journal(connection, *decided, reason, actor, at, projected=projected)

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


# What a decision adds to the journal: the version concerned, the kind, the old and the new value.
_Decided = tuple[Record, str, str | None, str | None]


def _decide_status(connection: Connection, name: str, change: StatusChange, reason: str) -> _Decided | None:
    record = _require(connection, name, change.version)
    old = record.version
    if (old.status, old.reason) == (change.status, reason):
        return None
    require_status_allowed(old, change.status)
    connection.execute(
        sa.update(MODEL_VERSIONS)
        .where(MODEL_VERSIONS.c.id == record.id)
        .values(status=change.status.value, reason=reason)
    )
    return record, STATUS, old.status.value, change.status.value


def _decide_alias(connection: Connection, name: str, change: AliasChange) -> _Decided | None:
    old = _find(connection, name, change.alias.value)
    new = None if change.version is None else _require(connection, name, change.version)
    if new == old:
        if new is not None or _is_removed(connection, name, change.alias):
            return None
    elif change.expected is not None and old != _require(connection, name, change.expected):
        raise Refused(
            f"expected {change.alias} to be {change.expected}, was {old.version.semver if old else 'none'}: "
            "nothing was changed"
        )
    if new is not None:
        require_alias_allowed(new.version, change.alias)
    ours = sa.and_(MODEL_ALIASES.c.name == name, MODEL_ALIASES.c.alias == change.alias.value)
    row = {"name": name, "alias": change.alias.value, "version_id": new.id if new else None}
    connection.execute(sa.delete(MODEL_ALIASES).where(ours))
    connection.execute(sa.insert(MODEL_ALIASES).values(row))
    subject = new or old
    if subject is None:
        return None
    was = old.version.semver if old else None
    return subject, change.alias.value, was, new.version.semver if new else None


def _is_removed(connection: Connection, name: str, alias: Alias) -> bool:
    query = sa.select(sa.literal(1)).where(MODEL_ALIASES.c.name == name, MODEL_ALIASES.c.alias == alias.value)
    return connection.scalar(query) is not None


def _journal(
    connection: Connection,
    record: Record,
    kind: str,
    old: str | None,
    new: str | None,
    reason: str,
    actor: str,
    at: datetime,
    *,
    projected: bool = False,
) -> None:
    connection.execute(
        sa.insert(MODEL_CHANGES).values(
            name=record.version.name,
            version_id=record.id,
            kind=kind,
            old=old,
            new=new,
            reason=reason,
            actor=actor,
            at=at,
            recorded=False,
            projected=projected,
        )
    )


def _require(connection: Connection, name: str, version: str) -> Record:
    found = _find(connection, name, version)
    if found is None:
        known = [r.version.semver for r in _select(connection, _named(name)) if r.is_registered]
        raise NotFound(unknown_version(name, version, known))
    return found


def unknown_version(name: str, version: str, known: Sequence[str]) -> str:
    """The message about a version that there is not."""
    shown = ", ".join(list(known)[-5:]) or "none yet"
    return f"expected a version of {name}, was {version!r}: the newest are {shown}"


def _find(connection: Connection, name: str, version: str) -> Record | None:
    semver = Semver.parse(version)
    columns = MODEL_VERSIONS.c
    condition: sa.ColumnElement[bool]
    if semver is not None:
        condition = sa.and_(*(columns[part] == value for part, value in semver._asdict().items()))
    elif version.isdecimal() and len(version) < 10:
        condition = columns.number == int(version)
    elif version in set(Alias):
        pointed = sa.select(MODEL_ALIASES.c.version_id).where(
            MODEL_ALIASES.c.name == name, MODEL_ALIASES.c.alias == version
        )
        condition = columns.id == pointed.scalar_subquery()
    else:
        return None
    found = _select(connection, sa.and_(_named(name), columns.number.is_not(None), condition))
    return found[0] if found else None


def _named(name: str) -> sa.ColumnElement[bool]:
    return MODEL_VERSIONS.c.name == name


def _select(connection: Connection, condition: sa.ColumnElement[bool]) -> list[Record]:
    rows = connection.execute(sa.select(MODEL_VERSIONS).where(condition).order_by(MODEL_VERSIONS.c.id)).all()
    pointing = connection.execute(
        sa.select(MODEL_ALIASES.c.version_id, MODEL_ALIASES.c.alias).where(
            MODEL_ALIASES.c.version_id.in_([row.id for row in rows])
        )
    ).all()
    return [_record(row, [Alias(alias) for id_, alias in pointing if id_ == row.id]) for row in rows]


def _record(row: sa.Row[tuple[object, ...]], aliases: Iterable[Alias]) -> Record:
    semver = str(Semver(row.major, row.minor, row.patch))
    own = {
        "semver": semver,
        "status": row.status,
        "reason": row.reason,
        "onnx_sha256": row.digests.get("model.onnx", row.tags.get("onnx_sha256", "")),
        "training_run": row.run_id,
        "training_key": row.training_key,
        "digests": json.dumps(row.digests, sort_keys=True),
    }
    version = ModelVersion(
        name=row.name,
        version=row.number or 0,
        semver=semver,
        status=ModelStatus(row.status),
        reason=row.reason,
        aliases=tuple(sorted(aliases)),
        onnx_sha256=own["onnx_sha256"],
        run_id=row.run_id,
        created_at=row.created_at,
        tags=row.tags | own,
    )
    return Record(row.id, version, row.training_key, row.digests, row.source or "", row.actor)
