"""Tokens in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.db.engine import reading
from autotrader.db.events import record_event
from autotrader.db.inserts import insert_new
from autotrader.db.tables import TOKENS
from autotrader.domain.errors import NotFound
from autotrader.ports.approvals import Role
from autotrader.ports.events import Event
from autotrader.ports.tokens import Scope, StoredToken


class SqlTokens:
    """A token that ended is kept: the audit trail names it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, token: StoredToken, event: Event) -> bool:
        row = asdict(token) | {"scopes": list(token.scopes), "roles": list(token.roles)}
        with self._engine.begin() as connection:
            added = insert_new(connection, TOKENS, row)
            if added:
                record_event(connection, event)
        return added

    def find(self, token_id: str) -> StoredToken | None:
        return next(iter(self._select(TOKENS.c.id == token_id)), None)

    def all(self) -> Sequence[StoredToken]:
        return self._select(sa.true())

    def revoke(self, token_id: str, at: datetime, event: Event) -> bool:
        one = TOKENS.c.id == token_id
        with self._engine.begin() as connection:
            ended = connection.execute(
                sa.update(TOKENS).where(one, TOKENS.c.revoked_at.is_(None)).values(revoked_at=at)
            ).rowcount
            if ended:
                record_event(connection, event)
            elif connection.scalar(sa.select(sa.func.count()).where(one)) == 0:
                raise NotFound(f"expected the id of a token, was {token_id!r}: there is none of that id")
        return ended == 1

    def _select(self, condition: sa.ColumnElement[bool]) -> Sequence[StoredToken]:
        query = sa.select(TOKENS).where(condition).order_by(TOKENS.c.created_at, TOKENS.c.id)
        with reading(self._engine) as connection:
            return [_token(row) for row in connection.execute(query).mappings()]


def _token(row: sa.RowMapping) -> StoredToken:
    scopes, roles = tuple(map(Scope, row["scopes"])), tuple(map(Role, row["roles"]))
    return StoredToken(**{**row, "scopes": scopes, "roles": roles})
