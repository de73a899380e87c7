"""Alerts as they are shown, and Alertmanager's webhook as it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from autotrader.alerts.channels.alertmanager import ORIGIN
from autotrader.alerts.relayed import MOST_RELAYED, RELAYED, fingerprint_of, incident_of
from autotrader.alerts.sources import named
from autotrader.alerts.wording import one_line
from autotrader.apps.api.bodies import Body, EventBody
from autotrader.domain.alerts import Severity
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.alerts import AlertEvent, AlertState
from autotrader.ports.events import Event, EventType

_LABEL = Annotated[str, Field(max_length=4_096)]
_LABELS = Annotated[dict[_LABEL, _LABEL], Field(max_length=64)]


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


class AlertEventBody(EventBody):
    """The event, and the alert that it raised or ended; null until the event was taken up."""

    alert_id: str | None
    alert: str | None = Field(description="Its name, as in the catalogue")
    state: AlertState | None
    count: int | None = Field(description="Events that raised it")
    runbook_url: str | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    resolved_by: str | None
    resolved_at: datetime | None
    case_id: str | None


@dataclass(slots=True)
class Shown:
    """What `AlertEventBody` says, as read."""

    key: str
    type: EventType
    severity: str
    message: str
    actor: str
    at: datetime
    instrument: str | None
    data: Mapping[str, object]
    alert_id: str | None = None
    alert: str | None = None
    state: AlertState | None = None
    count: int | None = None
    runbook_url: str | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    case_id: str | None = None


def shown(found: AlertEvent, url: Callable[[str], str]) -> Shown:
    """An event with its alert, on which `url` makes an address of the runbook's path."""
    event = (
        found.key,
        found.type,
        found.severity,
        found.message,
        found.actor,
        found.at,
        found.instrument,
        found.data,
    )
    alert = found.alert
    if alert is None:
        return Shown(*event)
    return Shown(
        *event,
        alert_id=alert.id,
        alert=alert.name,
        state=alert.state,
        count=alert.count,
        runbook_url=url(alert.runbook) or None,
        acknowledged_by=alert.acknowledged_by,
        acknowledged_at=alert.acknowledged_at,
        resolved_by=alert.resolved_by,
        resolved_at=alert.resolved_at,
        case_id=alert.case_id,
    )


class Told(BaseModel):
    """One alert; what else is in it is not read."""

    model_config = ConfigDict(frozen=True)

    status: Literal["firing", "resolved"]
    labels: _LABELS
    annotations: _LABELS = Field(default_factory=dict)
    starts_at: Annotated[AwareDatetime, AfterValidator(_utc)] = Field(alias="startsAt")
    fingerprint: str = Field("", max_length=200)


class Webhook(BaseModel):
    """What Alertmanager posts, version 4."""

    model_config = ConfigDict(frozen=True)

    version: Literal["4"]
    alerts: list[Told] = Field(max_length=MOST_RELAYED)


class Received(Body):
    received: int
    new: int = Field(description="Of them, those that were not told before")
    ours: int = Field(description="Of them, those that we had told it")


def fingerprints_of(webhook: Webhook) -> list[str]:
    """Of the alerts in it that fire, as ours have them."""
    return [fingerprint_of(told.labels) for told in webhook.alerts if told.status == "firing"]


def events_of(
    webhook: Webhook,
    *,
    actor: str,
    now: datetime,
    runbooks: str,
    ended_by_hand: Mapping[str, datetime] = MappingProxyType({}),
) -> list[Event]:
    """Entries of the business log; none of alerts that came from us.

    Parameters
    ----------
    ended_by_hand : Mapping[str, datetime]
        When a person ended one of a fingerprint: where it still fires, it is raised once more.
    runbooks : str
        The setting `monitoring.runbook_url`, which our rules have put before a page's path.
    """
    return [
        _event(told, actor=actor, now=now, runbooks=runbooks, ended_by_hand=ended_by_hand)
        for told in webhook.alerts
        if told.labels.get("origin") != ORIGIN
    ]


def _event(
    told: Told, *, actor: str, now: datetime, runbooks: str, ended_by_hand: Mapping[str, datetime]
) -> Event:
    labels, annotations = told.labels, told.annotations
    name = named(labels.get("alertname"))
    resolved = told.status == "resolved"
    mark = fingerprint_of(labels)
    severity = labels.get("severity", "")
    key = f"{mark}/{told.starts_at.isoformat()}/{told.status}"
    ended_at = ended_by_hand.get(mark)
    if ended_at and told.starts_at <= ended_at and not resolved:
        key += f"/after-{ended_at.isoformat()}"
    summary = annotations.get("summary") or annotations.get("description") or name
    return Event(
        key=key,
        type=EventType.ALERT,
        severity=severity if severity in set(Severity) else Severity.WARNING.value,
        message=one_line(summary) or name,
        actor=actor,
        at=now,
        instrument=_instrument(labels.get("instrument")),
        data={
            "alert": name,
            "source": RELAYED,
            "fingerprint": mark,
            "starts_at": told.starts_at.isoformat(),
            "incident": incident_of(labels),
            "resolved": resolved,
            "runbook": one_line(annotations.get("runbook_url", "")).removeprefix(f"{runbooks}/"),
            "labels": {one_line(k, 100): one_line(v, 200) for k, v in labels.items()},
        },
    )


def _instrument(text: str | None) -> str | None:
    try:
        return str(InstrumentId.parse(text)) if text else None
    except ValueError:
        return None  # a label of the name that means something else
