"""Tokens in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from autotrader.domain.errors import NotFound
from autotrader.ports.events import Event, EventLog
from autotrader.ports.tokens import StoredToken
from tests.fakes.events import InMemoryEventLog


class InMemoryTokens:
    def __init__(self, events: EventLog | None = None) -> None:
        self.events = events or InMemoryEventLog()
        self._tokens: dict[str, StoredToken] = {}

    def add(self, token: StoredToken, event: Event) -> bool:
        if token.id in self._tokens:
            return False
        self._tokens[token.id] = token
        self.events.record(event)
        return True

    def find(self, token_id: str) -> StoredToken | None:
        return self._tokens.get(token_id)

    def all(self) -> Sequence[StoredToken]:
        return sorted(self._tokens.values(), key=lambda t: (t.created_at, t.id))

    def revoke(self, token_id: str, at: datetime, event: Event) -> bool:
        found = self._tokens.get(token_id)
        if found is None:
            raise NotFound(f"expected the id of a token, was {token_id!r}: there is none of that id")
        if found.revoked_at is not None:
            return False
        self._tokens[token_id] = replace(found, revoked_at=at)
        self.events.record(event)
        return True
