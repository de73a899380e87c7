"""Sign-offs for production: one for each role, by different people, none of whom asked for it.

Whether a version is signed off follows from its rows alone, every time it is asked (`judge`): a row
that came in by a race, or was written past `decide`, can delay an approval and never make one.
Nothing is approved by waiting: what is not signed when the request expires is rejected.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from autotrader.access.authentication import require_scope
from autotrader.domain.errors import ConfigurationError, NotFound, Refused
from autotrader.domain.thresholds import SIGN_OFFS
from autotrader.ports.approvals import Approval, ApprovalRequest, Approvals, Decision, Role, Subject
from autotrader.ports.events import Event, EventType
from autotrader.ports.registry import ModelVersion
from autotrader.ports.tokens import Identity, Scope

REQUIRED = tuple(Role)
_AIRFLOW = "airflow:"


class SignOffState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def is_over(self) -> bool:
        """Whether the request came to nothing, so that it may be made anew."""
        return self in (SignOffState.REJECTED, SignOffState.EXPIRED)


@dataclass(frozen=True, slots=True)
class SignOff:
    """Whether a subject may go to production.

    Attributes
    ----------
    state : SignOffState
    missing : tuple of Role
        Those still to sign.
    reason : str
        One sentence.
    request : ApprovalRequest or None
        None where nobody asked.
    decisions : tuple of Approval
    """

    subject: Subject
    state: SignOffState
    missing: tuple[Role, ...]
    reason: str
    request: ApprovalRequest | None = None
    decisions: tuple[Approval, ...] = ()


def subject_of(version: ModelVersion) -> Subject:
    """What a sign-off of this version is bound to.

    Raises
    ------
    Refused
        If the version does not say which gate report judged it.
    """
    report = version.tags.get("gate_report_sha256")
    if not report:
        raise Refused(f"expected the digest of a gate report with {version.semver}, was none: train it again")
    return Subject(version.name, version.semver, version.onnx_sha256, report)


def request_sign_off(
    approvals: Approvals,
    subject: Subject,
    *,
    submitted_by: str,
    now: datetime,
    asked_at: datetime | None = None,
) -> ApprovalRequest:
    """Ask for the sign-offs of a subject; asking twice is asking once.

    Parameters
    ----------
    submitted_by : str
        Who wants it in production. Whoever asks later is remembered as well, and may not approve either.
    asked_at : datetime or None
        When the deployment was asked for, wall time: if the last round had come to nothing before, a new
        one begins. So who deploys anew asks anew, and a deployment that goes on asking never does.
    """
    last = _newest(approvals, subject)
    if last is not None and not _was_over(_judged(approvals, last, now), asked_at):
        if submitted_by in last.submitters:
            return last
        message = f"{submitted_by} asked for sign-offs of {_name(subject)}, too"
        event = _event(last, f"submitted:{submitted_by}", message, submitted_by, now)
        approvals.add_submitter(last.id, submitted_by, now, event)
        return replace(last, submitters=(*last.submitters, submitted_by))
    number = last.round + 1 if last else 1
    request = ApprovalRequest(
        id=hashlib.sha256(json.dumps([*astuple(subject), number]).encode()).hexdigest()[:24],
        subject=subject,
        round=number,
        submitters=(submitted_by,),
        requested_at=now,
        expires_at=now + timedelta(hours=SIGN_OFFS.valid_hours),
    )
    who = " and ".join(role.department for role in REQUIRED)
    message = f"{submitted_by} asked {who} to sign {_name(subject)} until {_time(request.expires_at)}"
    if approvals.open(request, _event(request, "requested", message, submitted_by, now)):
        return request
    return request_sign_off(approvals, subject, submitted_by=submitted_by, now=now)  # somebody was faster


def decide(
    approvals: Approvals,
    subject: Subject,
    *,
    role: Role,
    decision: Decision,
    reason: str,
    identity: Identity,
    now: datetime,
) -> SignOff:
    """Sign, or refuse to; deciding the same twice is deciding once.

    A rejection counts whoever gives it and ends the round, an approval that is complete included.

    Raises
    ------
    NotFound
        If nobody asked for sign-offs of this subject.
    Refused
        If this identity may not decide so, or the request is over.
    ConfigurationError
        If the reason is empty.
    """
    require_scope(identity, Scope.APPROVE)
    if role not in identity.roles:
        own = ", ".join(r.department for r in sorted(identity.roles)) or "nobody"
        raise Refused(
            f"expected an identity that signs for {role.department}, was {identity.name}, for {own}"
        )
    if not reason.strip():
        raise ConfigurationError("expected a reason for the decision, was empty: say why")
    request = _newest(approvals, subject)
    if request is None:
        raise NotFound(f"expected a request for sign-offs of {_name(subject)}, was none: deploy it first")
    approval = Approval(request.id, role, decision, identity.name, reason.strip(), now)
    before = _judged(approvals, request, now)
    if any(_same(approval, made) for made in before.decisions):
        return before
    if before.state.is_over:
        raise Refused(f"expected a request that waits, was {before.state}: {before.reason}")
    if decision is Decision.APPROVE:
        _require_may_approve(approval, before)
    what = f"{decision} {_name(subject)} ({approval.reason})"
    message = f"{identity.name} decided for {role.department}: {what}"
    key = f"{role}:{decision}:{identity.name}"
    approvals.add(approval, _event(request, key, message, identity.name, now))
    return _judged(approvals, request, now)


def record_from_airflow(
    approvals: Approvals,
    subject: Subject,
    *,
    user: str,
    role: Role,
    decision: Decision,
    reason: str,
    now: datetime,
) -> SignOff:
    """What a person answered in Airflow's human-in-the-loop form, by the same rules.

    Parameters
    ----------
    user : str
        As Airflow authenticated it: the responder that its API reports, not a field of the form.

    Raises
    ------
    NotFound, Refused, ConfigurationError
        As `decide`.
    """
    if not user.strip():
        raise Refused("expected the user who answered in Airflow, was nobody")
    identity = Identity(f"{_AIRFLOW}{user.strip()}", frozenset({Scope.APPROVE}), frozenset(Role))
    return decide(approvals, subject, role=role, decision=decision, reason=reason, identity=identity, now=now)


def sign_off_state(approvals: Approvals, version: ModelVersion, *, now: datetime) -> SignOff:
    """Whether the version, as it is now, is signed off.

    Raises
    ------
    Refused
        As `subject_of`.
    """
    subject = subject_of(version)
    request = _newest(approvals, subject)
    if request is not None:
        return _judged(approvals, request, now)
    others = approvals.requests(subject.model, version=subject.version)
    reason = f"nobody asked for sign-offs of {_name(subject)}"
    if others:
        reason += f"; those asked for at {_time(others[0].requested_at)} are of other digests and void"
    return SignOff(subject, SignOffState.WAITING, REQUIRED, reason)


def judge(request: ApprovalRequest, decisions: Sequence[Approval], *, now: datetime) -> SignOff:
    """What the rows of a request come to, at this instant of wall time."""

    def found(state: SignOffState, reason: str, missing: tuple[Role, ...] = ()) -> SignOff:
        return SignOff(request.subject, state, missing, reason, request, tuple(decisions))

    rejected = [a for a in decisions if a.decision is Decision.REJECT]
    if rejected:
        first = rejected[0]
        return found(
            SignOffState.REJECTED, f"{first.identity} rejected it for {first.role.department}: {first.reason}"
        )
    signed: dict[Role, Approval] = {}
    people = {person(s) for s in request.submitters}
    for approval in decisions:
        in_time = request.requested_at <= approval.at < request.expires_at
        if in_time and approval.role not in signed and person(approval.identity) not in people:
            signed[approval.role] = approval
            people.add(person(approval.identity))
    missing = tuple(role for role in REQUIRED if role not in signed)
    if not missing:
        names = " and ".join(f"{signed[r].identity} for {r.department}" for r in REQUIRED)
        return found(SignOffState.APPROVED, f"approved by {names}")
    lacking = " and ".join(role.department for role in missing)
    if now >= request.expires_at:
        reason = f"not signed by {lacking} until {_time(request.expires_at)}: that is a rejection"
        return found(SignOffState.EXPIRED, reason, missing)
    return found(SignOffState.WAITING, f"waits for {lacking} until {_time(request.expires_at)}", missing)


def person(identity: str) -> str:
    """Who stands behind an identity, in doubt the same one.

    `alice` with a token, `airflow:Alice` and the machine's user `alice@host` are one person: taking
    two people for one costs a third signature, taking one for two costs the second pair of eyes.
    """
    return identity.rpartition(":")[2].partition("@")[0].strip().casefold()


def _require_may_approve(approval: Approval, before: SignOff) -> None:
    assert before.request is not None  # noqa: S101 - `decide` judged one
    if before.state is SignOffState.APPROVED:
        raise Refused(f"expected a request that waits, was {before.state}: {before.reason}")
    if person(approval.identity) in map(person, before.request.submitters):
        raise Refused(f"expected an approver who did not ask for it, was {approval.identity}, who did")
    for made in before.decisions:
        if person(made.identity) == person(approval.identity):
            raise Refused(
                f"expected a different person for {approval.role.department}, was {approval.identity}, "
                f"who signed for {made.role.department}"
            )


def _was_over(found: SignOff, at: datetime | None) -> bool:
    """Whether the round had come to nothing at an instant."""
    if at is None or found.request is None or not found.state.is_over:
        return False
    ends = [a.at for a in found.decisions if a.decision is Decision.REJECT]
    return at > min([*ends, found.request.expires_at])


def _judged(approvals: Approvals, request: ApprovalRequest, now: datetime) -> SignOff:
    return judge(request, approvals.decisions(request.id), now=now)


def _newest(approvals: Approvals, subject: Subject) -> ApprovalRequest | None:
    of_version = approvals.requests(subject.model, version=subject.version)
    return max((r for r in of_version if r.subject == subject), key=lambda r: r.round, default=None)


def _same(one: Approval, other: Approval) -> bool:
    return (one.role, one.decision, one.identity) == (other.role, other.decision, other.identity)


def _event(request: ApprovalRequest, what: str, message: str, actor: str, at: datetime) -> Event:
    return Event(
        key=f"sign-off:{request.id}:{what}",
        type=EventType.AUDIT,
        severity="info",
        message=message,
        actor=actor,
        at=at,
        data={"request": request.id, "round": request.round, "subject": request.subject},
    )


def _name(subject: Subject) -> str:
    return f"{subject.model} {subject.version}"


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
