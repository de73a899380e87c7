"""Sign-offs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from autotrader.domain.errors import NotFound
from autotrader.ports.approvals import Approval, ApprovalRequest
from autotrader.ports.events import Event, EventLog
from tests.fakes.events import InMemoryEventLog


class InMemoryApprovals:
    def __init__(self, events: EventLog | None = None) -> None:
        self.events = events or InMemoryEventLog()
        self._requests: dict[str, ApprovalRequest] = {}
        self._decisions: list[Approval] = []

    def open(self, request: ApprovalRequest, event: Event) -> bool:
        if request.id in self._requests:
            return False
        self._requests[request.id] = request
        self.events.record(event)
        return True

    def add_submitter(self, request_id: str, identity: str, at: datetime, event: Event) -> bool:
        request = self._require(request_id)
        if identity in request.submitters:
            return False
        self._requests[request_id] = replace(request, submitters=(*request.submitters, identity))
        self.events.record(event)
        return True

    def add(self, approval: Approval, event: Event) -> bool:
        self._require(approval.request_id)
        key = (approval.role, approval.decision, approval.identity)
        if key in ((a.role, a.decision, a.identity) for a in self.decisions(approval.request_id)):
            return False
        self._decisions.append(approval)
        self.events.record(event)
        return True

    def requests(self, model: str, *, version: str | None = None) -> Sequence[ApprovalRequest]:
        of_model = [r for r in self._requests.values() if r.subject.model == model]
        found = [r for r in of_model if version in (None, r.subject.version)]
        return sorted(found, key=lambda r: (r.requested_at, r.round), reverse=True)

    def decisions(self, request_id: str) -> Sequence[Approval]:
        return [a for a in self._decisions if a.request_id == request_id]

    def _require(self, request_id: str) -> ApprovalRequest:
        if request_id not in self._requests:
            raise NotFound(f"expected a request for sign-offs, was {request_id!r}: there is none")
        return self._requests[request_id]
