"""Tokens and sign-offs from the command line, over the real database."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.access.approve import approve
from autotrader.access.authentication import authenticate
from autotrader.access.create_token import create_token
from autotrader.access.list_approvals import list_approvals
from autotrader.access.list_tokens import list_tokens
from autotrader.access.revoke_token import revoke_token
from autotrader.access.sign_off import request_sign_off, subject_of
from autotrader.command import Result, to_plain
from autotrader.config.settings import Settings
from autotrader.db.approvals import SqlApprovals
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.tokens import SqlTokens
from autotrader.domain.errors import ConfigurationError, NotFound, Refused
from autotrader.ports.approvals import Decision, Role
from autotrader.ports.events import EventType
from autotrader.ports.tokens import Scope
from tests.fakes.clocks import SettableClock
from tests.fakes.registry import InMemoryRegistry
from tests.models import TAGS, candidate
from tests.services import fresh_database

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
NAME = "autotrader-strategy"


class Desk:
    """People with tokens, before a version that somebody wants in production."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = open_database(fresh_database("sqlite", folder))
        self.tokens, self.approvals, self.events = (
            SqlTokens(engine),
            SqlApprovals(engine),
            SqlEventLog(engine),
        )
        self.clock = SettableClock(NOW)
        self.registry = InMemoryRegistry()
        tags = {**TAGS, "gate_report_sha256": "b" * 64}
        self.version = self.registry.register(candidate(folder, "a", "run", tags=tags), actor="training")
        self._monkeypatch = monkeypatch

    def token(self, identity: str, *scopes: Scope, roles: tuple[Role, ...] | None = None) -> Result:
        given = scopes or (Scope.APPROVE,)
        return create_token(
            identity=identity, scopes=given, roles=roles, tokens=self.tokens, clock=self.clock
        )

    def log_in(self, identity: str, *scopes: Scope, roles: tuple[Role, ...] | None = None) -> None:
        token = to_plain(self.token(identity, *scopes, roles=roles).data)["token"]
        self._monkeypatch.setenv("AUTOTRADER_TOKEN", token)

    def submit(self, who: str = "carol") -> None:
        request_sign_off(self.approvals, subject_of(self.version), submitted_by=who, now=self.clock.now())

    def approve(self, role: Role, decision: Decision = Decision.APPROVE, version: str = "v1.0.0") -> Result:
        return approve(
            model_version=version,
            role=role,
            decision=decision,
            reason="looked at it",
            settings=Settings(),
            registry=self.registry,
            approvals=self.approvals,
            tokens=self.tokens,
            clock=self.clock,
        )

    def listed(self) -> Result:
        return list_approvals(settings=Settings(), approvals=self.approvals, clock=self.clock)

    def audit(self) -> list[str]:
        return [e.message for e in self.events.recent(type=EventType.AUDIT)]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_token_is_shown_once_and_works_until_it_is_revoked(desk: Desk) -> None:
    shown = to_plain(desk.token("alice", Scope.READ, Scope.APPROVE).data)
    assert authenticate(desk.tokens, shown["token"], now=NOW).roles == set(Role)
    listed = list_tokens(tokens=desk.tokens, clock=desk.clock)
    assert shown["token"] not in listed.text + str(to_plain(listed.data))
    assert shown["token"] not in str(desk.events.recent())
    assert "alice" in listed.text
    assert "in force" in listed.text
    revoke_token(id=shown["id"], reason="left the desk", tokens=desk.tokens, clock=desk.clock)
    with pytest.raises(Refused, match="revoked"):
        authenticate(desk.tokens, shown["token"], now=NOW)
    again = revoke_token(id=shown["id"], reason="again", tokens=desk.tokens, clock=desk.clock)
    assert to_plain(again.data)["changed"] is False
    created, revoked = sorted(desk.audit())
    assert "for alice (approve, read) until 2026-05-30" in created
    assert "was revoked: left the desk" in revoked
    assert "revoked" in list_tokens(tokens=desk.tokens, clock=desk.clock).text


def test_a_token_expires_by_the_wall_clock(desk: Desk) -> None:
    desk.token("alice")
    desk.clock.advance(timedelta(days=90))
    assert "expired" in list_tokens(tokens=desk.tokens, clock=desk.clock).text


def test_revoking_needs_a_known_id_and_a_reason(desk: Desk) -> None:
    with pytest.raises(NotFound):
        revoke_token(id="nothing", reason="why", tokens=desk.tokens, clock=desk.clock)
    with pytest.raises(ConfigurationError, match="reason"):
        revoke_token(id="nothing", reason=" ", tokens=desk.tokens, clock=desk.clock)


def test_two_people_sign_a_version_and_the_list_says_who(desk: Desk) -> None:
    desk.submit()
    desk.log_in("alice")
    assert desk.approve(Role.QUANT).text.startswith(f"{NAME} v1.0.0: waiting (waits for Risk until")
    with pytest.raises(Refused, match="different person"):
        desk.approve(Role.RISK)
    desk.log_in("bob")
    assert "approved (approved by alice for Quant Engineering and bob" in desk.approve(Role.RISK).text
    assert "asked for by carol" in desk.listed().text
    assert "bob for Risk: approve (looked at it)" in desk.listed().text
    (row,) = to_plain(desk.listed().data)["approvals"]
    assert (row["state"], row["subject"]["onnx_sha256"]) == ("approved", desk.version.onnx_sha256)


def test_without_a_good_token_nothing_is_decided(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(ConfigurationError, match="AUTOTRADER_TOKEN"):
        desk.approve(Role.RISK)
    monkeypatch.setenv("AUTOTRADER_TOKEN", "alice")
    with pytest.raises(Refused, match="known here"):
        desk.approve(Role.RISK)
    desk.log_in("alice", Scope.READ, Scope.OPERATE)
    with pytest.raises(Refused, match="scope approve"):
        desk.approve(Role.RISK)
    desk.log_in("alice", roles=(Role.QUANT,))
    with pytest.raises(Refused, match="signs for Risk"):
        desk.approve(Role.RISK)
    assert to_plain(desk.listed().data)["approvals"][0]["decisions"] == []


def test_who_submitted_it_and_what_nobody_submitted_is_not_approved(desk: Desk) -> None:
    desk.log_in("carol")
    with pytest.raises(NotFound, match="deploy it first"):
        desk.approve(Role.RISK)
    assert desk.listed().text == "nothing was asked for"
    desk.submit("carol@desk")
    with pytest.raises(Refused, match="did not ask"):
        desk.approve(Role.RISK)


def test_a_version_that_is_unknown_is_not_signed(desk: Desk) -> None:
    desk.log_in("alice")
    with pytest.raises(NotFound):
        desk.approve(Role.RISK, version="v9.0.0")
