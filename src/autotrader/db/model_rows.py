"""Rows of the registry's tables, as values: versions, and the journal of their changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotrader.db.tables import MODEL_ALIASES, MODEL_CHANGES, MODEL_VERSIONS
from autotrader.domain.errors import NotFound
from autotrader.ports.registry import Alias, ModelStatus, ModelVersion
from autotrader.registry.semver import Semver

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


def journal(
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


def require_record(connection: Connection, name: str, version: str) -> Record:
    found = find_record(connection, name, version)
    if found is None:
        known = [r.version.semver for r in select_records(connection, named(name)) if r.is_registered]
        raise NotFound(unknown_version(name, version, known))
    return found


def unknown_version(name: str, version: str, known: Sequence[str]) -> str:
    """The message about a version that there is not."""
    shown = ", ".join(list(known)[-5:]) or "none yet"
    return f"expected a version of {name}, was {version!r}: the newest are {shown}"


def find_record(connection: Connection, name: str, version: str) -> Record | None:
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
    found = select_records(connection, sa.and_(named(name), columns.number.is_not(None), condition))
    return found[0] if found else None


def named(name: str) -> sa.ColumnElement[bool]:
    return MODEL_VERSIONS.c.name == name


def select_records(connection: Connection, condition: sa.ColumnElement[bool]) -> list[Record]:
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
