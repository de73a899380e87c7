"""What every store of tokens does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.tokens import SqlTokens
from autotrader.domain.errors import NotFound
from autotrader.ports.approvals import Role
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.tokens import Scope, StoredToken, Tokens
from tests.fakes.events import InMemoryEventLog
from tests.fakes.tokens import InMemoryTokens
from tests.services import fresh_database

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
TOKEN = StoredToken(
    id="abcdabcdabcd",
    identity="alice",
    scopes=(Scope.APPROVE, Scope.READ),
    roles=(Role.RISK,),
    sha256="5" * 64,
    created_by="ops@desk",
    created_at=AT,
    expires_at=AT + timedelta(days=90),
)
BARE = replace(TOKEN, id="0" * 12, scopes=(Scope.READ,), roles=(), created_at=AT + timedelta(hours=1))


def event(key: str) -> Event:
    return Event(key, EventType.AUDIT, "info", "a token", "ops@desk", AT)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Tokens, EventLog]:
    if request.param == "memory":
        events = InMemoryEventLog()
        return InMemoryTokens(events), events
    engine = open_database(fresh_database(request.param, tmp_path))
    return SqlTokens(engine), SqlEventLog(engine)


Store = tuple[Tokens, EventLog]


def test_a_token_comes_back_as_it_was_kept_oldest_first(store: Store) -> None:
    tokens, _ = store
    assert isinstance(tokens, Tokens)
    assert tokens.add(BARE, event("b"))
    assert tokens.add(TOKEN, event("a"))
    assert tokens.all() == [TOKEN, BARE]
    assert tokens.find(TOKEN.id) == TOKEN
    assert tokens.find("nothing") is None


def test_an_id_that_is_taken_is_not_given_again_and_no_event_is_told(store: Store) -> None:
    tokens, events = store
    assert tokens.add(TOKEN, event("a"))
    assert not tokens.add(replace(TOKEN, identity="mallory"), event("b"))
    assert tokens.all() == [TOKEN]
    assert [e.key for e in events.recent()] == ["a"]


def test_a_token_is_revoked_once_and_kept(store: Store) -> None:
    tokens, events = store
    tokens.add(TOKEN, event("a"))
    assert tokens.revoke(TOKEN.id, AT + timedelta(hours=1), event("revoked"))
    assert not tokens.revoke(TOKEN.id, AT + timedelta(hours=2), event("again"))
    assert tokens.all() == [replace(TOKEN, revoked_at=AT + timedelta(hours=1))]
    assert {e.key for e in events.recent()} == {"a", "revoked"}


def test_revoking_an_unknown_token_says_so(store: Store) -> None:
    with pytest.raises(NotFound, match="'nothing'"):
        store[0].revoke("nothing", AT, event("x"))
