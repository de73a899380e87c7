"""What an account may do, and what a person may ask of its trader.

A request is recorded, audited, and done by the trader when it next looks; the answer says how it
can be followed.
"""

from __future__ import annotations

import hashlib
import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi import Query as FromQuery
from pydantic import BaseModel, ConfigDict, StringConstraints

from autotrader.apps.api.access import allows, requires
from autotrader.apps.api.accounts import account_risk
from autotrader.apps.api.answers import Denied
from autotrader.apps.api.bodies import ControlBody, RiskBody
from autotrader.apps.api.queries import Account, AccountQuery
from autotrader.apps.api.reading import state_of
from autotrader.apps.api.shapes import answer
from autotrader.apps.api.sources import Sources
from autotrader.domain.errors import NotFound, Refused
from autotrader.domain.trading import ControlKind
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Identity, Scope
from autotrader.ports.trading import Control

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="The same key of the same caller is the same request, however often it is sent",
    ),
]
Operator = Annotated[Identity, Depends(requires(Scope.OPERATE))]


class Asked(BaseModel):
    """What a request for the trader says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason
    account: Account | None = None


def risk_routes(sources: Sources) -> APIRouter:
    """Reads."""
    router = APIRouter(tags=["risk"])

    @router.get("/api/risk", response_model=RiskBody)
    def risk(query: Annotated[AccountQuery, FromQuery()]) -> Response:
        """What the account may do and why, who trades it, and what was asked of the trader."""
        body = account_risk(sources.records, query.account or sources.account, sources.clock.now())
        return answer(body.model_dump_json())

    @router.get("/api/risk/controls/{control_id}")
    def control(control_id: str) -> ControlBody:
        """What became of a request."""
        found = sources.records.control(control_id)
        if found is None:
            raise NotFound(f"expected the id of a request, was {control_id[:64]!r}")
        return ControlBody.model_validate(found)

    return router


def control_routes(sources: Sources) -> APIRouter:
    """Writes."""
    router = APIRouter(tags=["risk"])

    def ask(kind: ControlKind, asked: Asked, identity: Identity, key: str | None) -> ControlBody:
        account = state_of(sources.records, asked.account or sources.account).account
        control = Control(
            id=_id(identity, kind, key),
            account=account,
            kind=kind,
            actor=identity.name,
            reason=asked.reason,
            asked_at=sources.clock.now(),
        )
        # The audit first: an entry without its request does no harm, a request without its entry would.
        sources.events.record(_audit(control))
        sources.records.ask(control)
        kept = sources.records.control(control.id)
        if kept is None:
            raise Refused(f"expected the request {control.id} to be kept, was gone: send it again")
        if (kept.account, kept.reason) != (control.account, control.reason):
            raise Refused(
                "expected an Idempotency-Key of this request, was one of another: make a new key for each"
            )
        return ControlBody.model_validate(kept)

    @router.post("/api/risk/halt", status_code=HTTPStatus.ACCEPTED)
    def halt(asked: Asked, identity: Operator, idempotency_key: IdempotencyKey = None) -> ControlBody:
        """Stop sending orders. Scope: operate."""
        return ask(ControlKind.HALT, asked, identity, idempotency_key)

    @router.post("/api/risk/resume", status_code=HTTPStatus.ACCEPTED)
    def resume(asked: Asked, identity: Operator, idempotency_key: IdempotencyKey = None) -> ControlBody:
        """Trade again. Scope: operate; approve where the circuit breaker has tripped."""
        state = state_of(sources.records, asked.account or sources.account)
        tripped = sorted(r.cause.value for r in state.restrictions if r.cause.is_breaker)
        if tripped and not allows(identity, Scope.APPROVE):
            raise Denied(
                HTTPStatus.FORBIDDEN,
                f"the scope {Scope.APPROVE}, since the circuit breaker has tripped ({', '.join(tripped)})",
                f"{', '.join(sorted(identity.scopes))} for {identity.name}: an approver must resume it",
            )
        return ask(ControlKind.RESUME, asked, identity, idempotency_key)

    @router.post("/api/reconcile", status_code=HTTPStatus.ACCEPTED)
    def reconcile(asked: Asked, identity: Operator, idempotency_key: IdempotencyKey = None) -> ControlBody:
        """Compare positions and orders with the broker's now. Scope: operate."""
        return ask(ControlKind.RECONCILE, asked, identity, idempotency_key)

    return router


def _id(identity: Identity, kind: ControlKind, key: str | None) -> str:
    if key is None:
        return uuid.uuid4().hex
    return hashlib.sha256(f"{identity.name}|{kind.value}|{key}".encode()).hexdigest()[:32]


def _audit(control: Control) -> Event:
    return Event(
        key=f"control:{control.id}:asked",
        type=EventType.AUDIT,
        severity="warning" if control.kind is not ControlKind.RECONCILE else "info",
        message=f"{control.actor} asked to {control.kind.value} account {control.account}: {control.reason}",
        actor=control.actor,
        at=control.asked_at,
        data={"control": control.id, "kind": control.kind.value, "account": control.account},
    )
