"""No version is signed off by one person, by who asked for it, too late, or on other bytes."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from autotrader.access.sign_off import (
    REQUIRED,
    SignOffState,
    decide,
    judge,
    person,
    record_from_airflow,
    request_sign_off,
    sign_off_state,
    subject_of,
)
from autotrader.domain.errors import AutotraderError, ConfigurationError, NotFound, Refused
from autotrader.domain.thresholds import SIGN_OFFS
from autotrader.ports.approvals import Approval, Decision, Role
from autotrader.ports.registry import ModelStatus, ModelVersion
from autotrader.ports.tokens import Identity, Scope
from tests.fakes.approvals import InMemoryApprovals

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
VALID = timedelta(hours=SIGN_OFFS.valid_hours)
QUANT, RISK = Role.QUANT, Role.RISK
VERSION = ModelVersion(
    name="autotrader-strategy",
    version=3,
    semver="v1.2.0",
    status=ModelStatus.CANDIDATE,
    reason="passed",
    aliases=(),
    onnx_sha256="a" * 64,
    run_id="run",
    created_at=NOW,
    tags={"gate_report_sha256": "b" * 64},
)
SUBJECT = subject_of(VERSION)


def signer(name: str, *roles: Role) -> Identity:
    return Identity(name, frozenset({Scope.APPROVE}), frozenset(roles or Role))


def sign(
    approvals: InMemoryApprovals,
    name: str,
    role: Role,
    decision: Decision = Decision.APPROVE,
    *,
    now: datetime = NOW,
    reason: str = "looked at it",
) -> SignOffState:
    made = decide(
        approvals,
        SUBJECT,
        role=role,
        decision=decision,
        reason=reason,
        identity=signer(name),
        now=now,
    )
    return made.state


@pytest.fixture
def approvals() -> InMemoryApprovals:
    approvals = InMemoryApprovals()
    request_sign_off(approvals, SUBJECT, submitted_by="carol", now=NOW)
    return approvals


def test_two_people_for_two_roles_approve(approvals: InMemoryApprovals) -> None:
    assert sign(approvals, "alice", QUANT) is SignOffState.WAITING
    waiting = sign_off_state(approvals, VERSION, now=NOW)
    assert waiting.missing == (RISK,)
    assert waiting.reason == "waits for Risk until 2026-03-04 09:00 UTC"
    assert sign(approvals, "bob", RISK) is SignOffState.APPROVED
    found = sign_off_state(approvals, VERSION, now=NOW + 2 * VALID)
    assert (found.state, found.missing) == (SignOffState.APPROVED, ())
    assert found.reason == "approved by alice for Quant Engineering and bob for Risk"
    messages = [event.message for event in approvals.events.recent()]
    assert "bob decided for Risk: approve autotrader-strategy v1.2.0 (looked at it)" in messages


def test_nobody_asked_is_waiting_and_there_is_nothing_to_sign() -> None:
    approvals = InMemoryApprovals()
    found = sign_off_state(approvals, VERSION, now=NOW)
    assert (found.state, found.missing) == (SignOffState.WAITING, REQUIRED)
    with pytest.raises(NotFound, match="was none"):
        sign(approvals, "alice", QUANT)


@pytest.mark.parametrize("other", ["alice", "airflow:Alice", "alice@desk"])
def test_one_person_does_not_sign_for_both(approvals: InMemoryApprovals, other: str) -> None:
    sign(approvals, "alice", QUANT)
    with pytest.raises(Refused, match="different person"):
        sign(approvals, other, RISK)


@pytest.mark.parametrize("name", ["carol", "airflow:carol", "carol@host"])
def test_who_asked_for_it_does_not_approve_but_may_take_it_back(
    approvals: InMemoryApprovals, name: str
) -> None:
    with pytest.raises(Refused, match="did not ask"):
        sign(approvals, name, QUANT)
    assert sign(approvals, name, QUANT, Decision.REJECT) is SignOffState.REJECTED


def test_who_asks_after_signing_has_not_signed(approvals: InMemoryApprovals) -> None:
    sign(approvals, "alice", QUANT)
    sign(approvals, "bob", RISK)
    request_sign_off(approvals, SUBJECT, submitted_by="bob@desk", now=NOW)
    assert sign_off_state(approvals, VERSION, now=NOW).missing == (RISK,)
    assert sign(approvals, "dora", RISK) is SignOffState.APPROVED


def test_what_is_not_signed_in_time_is_rejected(approvals: InMemoryApprovals) -> None:
    last = NOW + VALID - timedelta(microseconds=1)
    sign(approvals, "alice", QUANT, now=last)
    found = sign_off_state(approvals, VERSION, now=NOW + VALID)
    assert (found.state, found.missing) == (SignOffState.EXPIRED, (RISK,))
    assert "that is a rejection" in found.reason
    with pytest.raises(Refused, match="expired"):
        sign(approvals, "bob", RISK, now=NOW + VALID)


def test_a_late_row_that_came_past_the_rules_does_not_count(approvals: InMemoryApprovals) -> None:
    (request,) = approvals.requests(SUBJECT.model)
    late = [Approval(request.id, r, Decision.APPROVE, r.value, "late", request.expires_at) for r in Role]
    assert judge(request, late, now=NOW).state is SignOffState.WAITING
    early = [replace(a, at=NOW - timedelta(seconds=1)) for a in late]
    assert judge(request, early, now=NOW).state is SignOffState.WAITING


def test_rows_of_one_person_for_both_roles_do_not_approve(approvals: InMemoryApprovals) -> None:
    (request,) = approvals.requests(SUBJECT.model)
    both = [Approval(request.id, r, Decision.APPROVE, "alice", "raced", NOW) for r in Role]
    assert judge(request, both, now=NOW).missing == (RISK,)


@pytest.mark.parametrize("at", [NOW, NOW + timedelta(hours=1)])
def test_a_rejection_ends_it_even_after_it_was_complete(approvals: InMemoryApprovals, at: datetime) -> None:
    sign(approvals, "alice", QUANT)
    sign(approvals, "bob", RISK)
    assert sign(approvals, "dora", RISK, Decision.REJECT, now=at) is SignOffState.REJECTED
    assert "dora rejected it for Risk" in sign_off_state(approvals, VERSION, now=at).reason
    with pytest.raises(Refused, match="rejected"):
        sign(approvals, "erin", QUANT)


def test_deciding_the_same_twice_is_deciding_once(approvals: InMemoryApprovals) -> None:
    sign(approvals, "alice", QUANT)
    assert sign(approvals, "alice", QUANT, now=NOW + timedelta(hours=1)) is SignOffState.WAITING
    (request,) = approvals.requests(SUBJECT.model)
    assert [a.at for a in approvals.decisions(request.id)] == [NOW]


def test_a_role_that_is_signed_needs_no_second_signature(approvals: InMemoryApprovals) -> None:
    sign(approvals, "alice", QUANT)
    sign(approvals, "bob", QUANT)
    with pytest.raises(Refused, match="different person"):
        sign(approvals, "bob", RISK)
    assert sign(approvals, "dora", RISK) is SignOffState.APPROVED


@pytest.mark.parametrize(
    ("changed", "field"),
    [("onnx", "onnx_sha256"), ("report", "tags")],
)
def test_a_changed_digest_voids_the_signatures(
    approvals: InMemoryApprovals, changed: str, field: str
) -> None:
    sign(approvals, "alice", QUANT)
    sign(approvals, "bob", RISK)
    value = "c" * 64 if changed == "onnx" else {"gate_report_sha256": "c" * 64}
    other = replace(VERSION, **{field: value})  # type: ignore[arg-type]
    found = sign_off_state(approvals, other, now=NOW)
    assert (found.state, found.missing) == (SignOffState.WAITING, REQUIRED)
    assert "of other digests and void" in found.reason


def test_a_version_without_a_gate_report_cannot_be_signed() -> None:
    with pytest.raises(Refused, match="gate report"):
        subject_of(replace(VERSION, tags={}))


def test_asking_twice_is_asking_once_and_asking_anew_needs_new_signatures(
    approvals: InMemoryApprovals,
) -> None:
    def ask(asked_at: datetime | None, now: datetime) -> int:
        made = request_sign_off(approvals, SUBJECT, submitted_by="carol", now=now, asked_at=asked_at)
        assert made in approvals.requests(SUBJECT.model)
        return made.round

    rejected, later = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    assert ask(later, later) == 1
    sign(approvals, "alice", QUANT)
    sign(approvals, "bob", RISK, Decision.REJECT, now=rejected)
    assert [ask(None, later), ask(NOW, later), ask(rejected, later)] == [1, 1, 1]
    assert ask(later, later) == 2
    assert sign_off_state(approvals, VERSION, now=later).missing == REQUIRED
    expired = later + VALID
    assert [ask(later, expired), ask(expired, expired)] == [2, 2]
    assert ask(expired + timedelta(seconds=1), expired + timedelta(seconds=1)) == 3


def test_a_scope_a_role_and_a_reason_are_needed(approvals: InMemoryApprovals) -> None:
    def attempt(identity: Identity, reason: str) -> None:
        decide(
            approvals,
            SUBJECT,
            role=RISK,
            decision=Decision.APPROVE,
            reason=reason,
            identity=identity,
            now=NOW,
        )

    with pytest.raises(Refused, match="scope approve"):
        attempt(Identity("alice", frozenset({Scope.OPERATE}), frozenset(Role)), "fine")
    with pytest.raises(Refused, match="signs for Risk, was alice, for Quant Engineering"):
        attempt(signer("alice", QUANT), "fine")
    with pytest.raises(ConfigurationError, match="reason"):
        attempt(signer("alice"), "  ")


def test_an_answer_in_airflow_follows_the_same_rules(approvals: InMemoryApprovals) -> None:
    def answer(user: str, role: Role) -> SignOffState:
        return record_from_airflow(
            approvals,
            SUBJECT,
            user=user,
            role=role,
            decision=Decision.APPROVE,
            reason="fine",
            now=NOW,
        ).state

    assert answer("alice", QUANT) is SignOffState.WAITING
    with pytest.raises(Refused, match="different person"):
        answer("alice", RISK)
    with pytest.raises(Refused, match="nobody"):
        answer(" ", RISK)
    assert sign(approvals, "bob", RISK) is SignOffState.APPROVED
    assert "airflow:alice for Quant Engineering" in sign_off_state(approvals, VERSION, now=NOW).reason


NAMES = ["alice", "bob", "carol", "airflow:alice", "bob@desk"]


class Signing(RuleBasedStateMachine):
    """Anybody does anything at any time; nothing of it may approve what must not be."""

    def __init__(self) -> None:
        super().__init__()
        self.approvals = InMemoryApprovals()
        self.now = NOW
        self.version = VERSION

    @initialize()
    def somebody_else_asks(self) -> None:
        request_sign_off(self.approvals, SUBJECT, submitted_by="erin", now=self.now)

    @rule(name=st.sampled_from(NAMES), anew=st.booleans())
    def asks(self, name: str, anew: bool) -> None:
        subject, asked_at = subject_of(self.version), self.now if anew else None
        request_sign_off(self.approvals, subject, submitted_by=name, now=self.now, asked_at=asked_at)

    @rule(
        name=st.sampled_from(NAMES),
        role=st.sampled_from(Role),
        decision=st.sampled_from([Decision.APPROVE] * 8 + [Decision.REJECT]),
    )
    def decides(self, name: str, role: Role, decision: Decision) -> None:
        with contextlib.suppress(AutotraderError):  # refused: the invariant sees what came of the others
            decide(
                self.approvals,
                subject_of(self.version),
                role=role,
                decision=decision,
                reason="because",
                identity=signer(name),
                now=self.now,
            )

    @rule(
        name=st.sampled_from(NAMES),
        roles=st.sampled_from([(QUANT,), (RISK,), (QUANT, RISK)]),
        late=st.sampled_from([-1, 0, 1, 80]),
    )
    def writes_past_the_rules(self, name: str, roles: tuple[Role, ...], late: int) -> None:
        at = self.now + timedelta(hours=late)
        for request in self.approvals.requests(VERSION.name):
            for role in roles:
                approval = Approval(request.id, role, Decision.APPROVE, name, "smuggled", at)
                (event,) = self.approvals.events.recent(limit=1)
                self.approvals.add(approval, replace(event, key=f"{event.key}/"))

    @rule(hours=st.sampled_from([1, 30, 73]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(digest=st.sampled_from("aac"))
    def the_bytes_change(self, digest: str) -> None:
        self.version = replace(VERSION, onnx_sha256=digest * 64)

    @invariant()
    def approved_is_approved_by_two_others_in_time_on_these_bytes(self) -> None:
        found = sign_off_state(self.approvals, self.version, now=self.now)
        if found.state is not SignOffState.APPROVED:
            return
        request = found.request
        assert request is not None
        assert request.subject == subject_of(self.version)
        assert not any(a.decision is Decision.REJECT for a in found.decisions)
        outsiders = {
            role: {
                person(a.identity)
                for a in found.decisions
                if a.role is role and request.requested_at <= a.at < request.expires_at
            }
            - set(map(person, request.submitters))
            for role in Role
        }
        assert all(outsiders.values())
        assert len(outsiders[QUANT] | outsiders[RISK]) >= 2
        assert max(
            r.round for r in self.approvals.requests(VERSION.name) if r.subject == request.subject
        ) == (request.round)


Signing.TestCase.settings = settings(max_examples=80, stateful_step_count=20)
TestSigning = Signing.TestCase
