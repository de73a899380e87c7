"""Sign-offs in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from autotrader.db.engine import reading
from autotrader.db.events import record_event
from autotrader.db.inserts import insert_new
from autotrader.db.tables import APPROVAL_REQUESTS, APPROVAL_SUBMITTERS, APPROVALS
from autotrader.domain.errors import NotFound
from autotrader.ports.approvals import Approval, ApprovalRequest, Decision, Role, Subject
from autotrader.ports.events import Event


class SqlApprovals:
    """Append-only: what was decided cannot be made undone, only decided against."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, request: ApprovalRequest, event: Event) -> bool:
        row = {
            "id": request.id,
            **asdict(request.subject),
            "round": request.round,
            "requested_at": request.requested_at,
            "expires_at": request.expires_at,
        }
        with self._engine.begin() as connection:
            opened = insert_new(connection, APPROVAL_REQUESTS, row)
            if opened:
                for identity in request.submitters:
                    submitter = {"request_id": request.id, "identity": identity, "at": request.requested_at}
                    insert_new(connection, APPROVAL_SUBMITTERS, submitter)
                record_event(connection, event)
        return opened

    def add_submitter(self, request_id: str, identity: str, at: datetime, event: Event) -> bool:
        row = {"request_id": request_id, "identity": identity, "at": at}
        return self._add(APPROVAL_SUBMITTERS, row, event)

    def add(self, approval: Approval, event: Event) -> bool:
        return self._add(APPROVALS, asdict(approval), event)

    def requests(self, model: str, *, version: str | None = None) -> Sequence[ApprovalRequest]:
        table = APPROVAL_REQUESTS
        query = sa.select(table).where(table.c.model == model)
        if version is not None:
            query = query.where(table.c.version == version)
        query = query.order_by(table.c.requested_at.desc(), table.c.round.desc(), table.c.id)
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
            submitters = _submitters(connection, [row["id"] for row in rows])
        return [_request(row, submitters[row["id"]]) for row in rows]

    def decisions(self, request_id: str) -> Sequence[Approval]:
        table = APPROVALS
        query = sa.select(table).where(table.c.request_id == request_id).order_by(table.c.id)
        with reading(self._engine) as connection:
            return [_approval(row) for row in connection.execute(query).mappings()]

    def _add(self, table: sa.Table, row: Mapping[str, object], event: Event) -> bool:
        request = sa.select(sa.literal(1)).where(APPROVAL_REQUESTS.c.id == row["request_id"])
        with self._engine.begin() as connection:
            if connection.scalar(request) is None:
                raise NotFound(f"expected a request for sign-offs, was {row['request_id']!r}: there is none")
            added = insert_new(connection, table, row)
            if added:
                record_event(connection, event)
        return added


def _submitters(connection: Connection, request_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    table = APPROVAL_SUBMITTERS
    query = (
        sa.select(table.c.request_id, table.c.identity)
        .where(table.c.request_id.in_(request_ids))
        .order_by(table.c.id)
    )
    found: dict[str, tuple[str, ...]] = dict.fromkeys(request_ids, ())
    for request_id, identity in connection.execute(query):
        found[request_id] = (*found[request_id], identity)
    return found


def _request(row: sa.RowMapping, submitters: tuple[str, ...]) -> ApprovalRequest:
    return ApprovalRequest(
        id=row["id"],
        subject=Subject(row["model"], row["version"], row["onnx_sha256"], row["gate_report_sha256"]),
        round=row["round"],
        submitters=submitters,
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
    )


def _approval(row: sa.RowMapping) -> Approval:
    fields = {k: v for k, v in row.items() if k != "id"}
    return Approval(**fields | {"role": Role(row["role"]), "decision": Decision(row["decision"])})
