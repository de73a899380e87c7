"""Who holds a token is who it was made for, as long as it is in force, and nobody else is."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from autotrader.access.authentication import authenticate, given_token, issue, require_scope
from autotrader.domain.errors import ConfigurationError, Refused
from autotrader.ports.approvals import Role
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Identity, Scope
from tests.fakes.tokens import InMemoryTokens

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EVENT = Event("k", EventType.AUDIT, "info", "made", "ops", NOW)


def made(
    tokens: InMemoryTokens, name: str = "alice", *scopes: Scope, roles: tuple[Role, ...] = (), days: int = 90
) -> str:
    token, stored = issue(name, scopes or (Scope.READ,), roles, days=days, actor="ops", now=NOW)
    assert tokens.add(stored, EVENT)
    return token


def test_a_token_names_its_identity_with_scopes_and_roles() -> None:
    tokens = InMemoryTokens()
    token = made(tokens, "alice", Scope.READ, Scope.APPROVE, roles=(Role.RISK,))
    assert authenticate(tokens, token, now=NOW) == Identity(
        "alice", frozenset({Scope.READ, Scope.APPROVE}), frozenset({Role.RISK})
    )


def test_of_a_token_only_id_and_digest_are_kept() -> None:
    tokens = InMemoryTokens()
    token = made(tokens)
    secret = token.split("_", 2)[2]
    assert len(secret) == 43
    assert secret not in repr(tokens.all())
    assert made(tokens) != token


@pytest.mark.parametrize("spoil", ["", "alice", "atk_", "é\udce9", "atk_000000000000_" + "A" * 43])
def test_what_is_no_token_of_ours_is_refused(spoil: str) -> None:
    tokens = InMemoryTokens()
    made(tokens)
    with pytest.raises(Refused, match="known here"):
        authenticate(tokens, spoil, now=NOW)


def test_a_token_with_one_other_character_is_refused_and_does_not_say_why() -> None:
    tokens = InMemoryTokens()
    token = made(tokens, days=1)
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    for when in (NOW, NOW + timedelta(days=2)):
        with pytest.raises(Refused, match="known here"):
            authenticate(tokens, other, now=when)


def test_the_digest_itself_opens_nothing() -> None:
    tokens = InMemoryTokens()
    made(tokens)
    with pytest.raises(Refused):
        authenticate(tokens, tokens.all()[0].sha256, now=NOW)


def test_a_token_ends_at_its_instant() -> None:
    tokens = InMemoryTokens()
    token = made(tokens, days=2)
    last = NOW + timedelta(days=2) - timedelta(microseconds=1)
    assert authenticate(tokens, token, now=last).name == "alice"
    with pytest.raises(Refused, match="2026-03-03 00:00"):
        authenticate(tokens, token, now=NOW + timedelta(days=2))


def test_a_revoked_token_is_refused_at_once() -> None:
    tokens = InMemoryTokens()
    token = made(tokens)
    tokens.revoke(tokens.all()[0].id, NOW, EVENT)
    with pytest.raises(Refused, match="revoked"):
        authenticate(tokens, token, now=NOW)


@pytest.mark.parametrize("name", ["", "Alice", "airflow:alice", "a b", "a" * 64, "-a", "a\n"])
def test_a_name_that_could_pass_for_another_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="identity"):
        issue(name, (Scope.READ,), (), days=1, actor="ops", now=NOW)


@pytest.mark.parametrize(
    ("scopes", "roles", "days", "message"),
    [
        ((), (), 1, "scopes"),
        ((Scope.READ,), (Role.RISK,), 1, "roles"),
        ((Scope.READ,), (), 0, "days"),
        ((Scope.READ,), (), 367, "days"),
    ],
)
def test_a_token_that_would_open_nothing_or_for_ever_is_not_made(
    scopes: tuple[Scope, ...], roles: tuple[Role, ...], days: int, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        issue("alice", scopes, roles, days=days, actor="ops", now=NOW)


def test_a_scope_that_is_lacking_is_named() -> None:
    alice = Identity("alice", frozenset({Scope.READ}))
    require_scope(alice, Scope.READ)
    with pytest.raises(Refused, match="scope operate, was read for alice"):
        require_scope(alice, Scope.OPERATE)


def test_the_token_is_read_from_the_environment_and_nobody_is_asked_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))
    with pytest.raises(ConfigurationError, match="AUTOTRADER_TOKEN"):
        given_token()
    monkeypatch.setenv("AUTOTRADER_TOKEN", " atk_x ")
    assert given_token() == "atk_x"
