"""Single changes of a status or an alias, decided within a transaction of the caller."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from autotrader.db.model_rows import STATUS, Record, find_record, require_record
from autotrader.db.tables import MODEL_ALIASES, MODEL_VERSIONS
from autotrader.domain.errors import Refused
from autotrader.ports.registry import Alias, AliasChange, StatusChange
from autotrader.registry.lifecycle import require_alias_allowed, require_expected, require_status_allowed

# What a decision adds to the journal: the version concerned, the kind, the old and the new value.
Decision = tuple[Record, str, str | None, str | None]


def decide_status(connection: Connection, name: str, change: StatusChange, reason: str) -> Decision | None:
    record = require_record(connection, name, change.version)
    old = record.version
    if (old.status, old.reason) == (change.status, reason):
        return None
    require_expected(old, change)
    require_status_allowed(old, change.status)
    connection.execute(
        sa.update(MODEL_VERSIONS)
        .where(MODEL_VERSIONS.c.id == record.id)
        .values(status=change.status.value, reason=reason)
    )
    return record, STATUS, old.status.value, change.status.value


def decide_alias(connection: Connection, name: str, change: AliasChange) -> Decision | None:
    old = find_record(connection, name, change.alias.value)
    new = None if change.version is None else require_record(connection, name, change.version)
    if new == old:
        if new is not None or _is_removed(connection, name, change.alias):
            return None
    elif change.expected is not None and old != require_record(connection, name, change.expected):
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
