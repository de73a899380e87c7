"""Sign-offs: who said that a version may go to production, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from autotrader.ports.events import Event


class Role(StrEnum):
    """For whom somebody signs."""

    QUANT = "quant"
    RISK = "risk"

    @property
    def department(self) -> str:
        return {Role.QUANT: "Quant Engineering", Role.RISK: "Risk"}[self]


class Decision(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is signed: a version, the bytes that would be served, and the report that judged them.

    A change in any of these is another subject, which nobody has signed.

    Attributes
    ----------
    model, version : str
        Registered model and semver.
    onnx_sha256, gate_report_sha256 : str
        Hex digests.
    """

    model: str
    version: str
    onnx_sha256: str
    gate_report_sha256: str


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """Somebody wants a subject in production.

    Attributes
    ----------
    id : str
        Follows from subject and round: the same request made twice is one.
    round : int
        From 1; a new one begins where a request that was rejected or expired is made anew.
    submitters : tuple of str
        Everybody who asked, the first one first; none of them may approve.
    requested_at, expires_at : datetime
        Wall time, UTC. What is not approved before `expires_at` is rejected.
    """

    id: str
    subject: Subject
    round: int
    submitters: tuple[str, ...]
    requested_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """What one identity decided for one role.

    Attributes
    ----------
    identity : str
        Authenticated; never typed.
    at : datetime
        Wall time, UTC.
    """

    request_id: str
    role: Role
    decision: Decision
    identity: str
    reason: str
    at: datetime


@runtime_checkable
class Approvals(Protocol):
    """Append-only. A row and its event are one transaction; what is there already is left."""

    def open(self, request: ApprovalRequest, event: Event) -> bool:
        """Record a new request with its submitters; False if it is there already."""
        ...

    def add_submitter(self, request_id: str, identity: str, at: datetime, event: Event) -> bool:
        """Record that somebody else asked, too; False if that is known.

        Raises
        ------
        NotFound
            If there is no such request.
        """
        ...

    def add(self, approval: Approval, event: Event) -> bool:
        """Record a decision; False if this identity decided so for this role already.

        Raises
        ------
        NotFound
            If there is no such request.
        """
        ...

    def requests(self, model: str, *, version: str | None = None) -> Sequence[ApprovalRequest]:
        """Newest first."""
        ...

    def decisions(self, request_id: str) -> Sequence[Approval]:
        """In the order in which they were made."""
        ...
