"""Alerts: what somebody has to know, who was told of it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from autotrader.domain.alerts import Severity
from autotrader.ports.events import Event, EventType


class AlertState(StrEnum):
    """SUPPRESSED: nobody is told yet, since the same was told a moment ago; told when that is over."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    SUPPRESSED = "suppressed"


class ChannelName(StrEnum):
    """LOG is always on; ALERTMANAGER, where it runs, is told in place of all others."""

    LOG = "log"
    EMAIL = "email"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    OPSGENIE = "opsgenie"
    WEBHOOK = "webhook"
    ALERTMANAGER = "alertmanager"

    @property
    def is_pager(self) -> bool:
        """Whether it keeps an incident of its own, which is ended by the key that began it."""
        return self in {ChannelName.PAGERDUTY, ChannelName.OPSGENIE}


class Telling(StrEnum):
    """Why somebody is told of an alert.

    ACKNOWLEDGED: a person is on it, which pagers alone are told, so that they call nobody else.
    TAKEN_BACK: it is over, and Alertmanager, which has told people of it, does not tell them that.
    """

    RAISED = "raised"
    AGAIN = "again"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    TAKEN_BACK = "taken_back"


class DeliveryState(StrEnum):
    """DEAD: given up; a person may ask for it again."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Raising:
    """What an event says of an alert.

    Attributes
    ----------
    fingerprint : str
        Equal ones are the same alert.
    name : str
        As in the catalogue of alerts; those of one name are told together.
    message : str
        One line, without secrets.
    at : datetime
        When it happened; wall time, UTC.
    resolved : bool
        It is over.
    runbook : str
        Path of its page in the repository, or a URL; empty where there is none.
    relayed : bool
        Alertmanager has told people already.
    began_at : datetime or None
        What is over began then; None where that is not known.
    thread : str or None
        Key of the pager's incident that Alertmanager made of it.
    """

    fingerprint: str
    name: str
    severity: Severity
    message: str
    at: datetime
    resolved: bool = False
    runbook: str = ""
    instrument: str | None = None
    relayed: bool = False
    began_at: datetime | None = None
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert from its first event until it is resolved; at most one of a fingerprint is not.

    Attributes
    ----------
    first_at, last_at : datetime
        Of the events; wall time, UTC.
    opened_at, told_at, escalated_at, suppressed_until, stamped_at : datetime
        Of the clock that delivers: it took the first event up, asked for a message, for the newest
        escalation; and changed this row last.
    count : int
        Events that raised it.
    escalations : int
        How often nobody had acknowledged it in time.
    review_at : datetime or None
        When time alone changes it next.
    thread : str or None
        Alerts that were told together first have one: the key of a pager's incident. That of an incident
        which Alertmanager made begins with its name.
    case_id : str or None
        The case that it belongs to.
    """

    id: str
    fingerprint: str
    name: str
    severity: Severity
    message: str
    runbook: str
    instrument: str | None
    relayed: bool
    state: AlertState
    first_at: datetime
    last_at: datetime
    opened_at: datetime
    stamped_at: datetime
    count: int = 1
    told_at: datetime | None = None
    escalated_at: datetime | None = None
    escalations: int = 0
    suppressed_until: datetime | None = None
    review_at: datetime | None = None
    thread: str | None = None
    case_id: str | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    reason: str = ""

    @property
    def is_live(self) -> bool:
        return self.state is not AlertState.RESOLVED

    @property
    def last_told(self) -> datetime:
        """When a message was asked for last; before the first one, when it was opened."""
        return self.told_at or self.opened_at


@dataclass(frozen=True, slots=True)
class Line:
    """An alert as a message tells it; `runbook` is a URL where a base is set."""

    id: str
    fingerprint: str
    name: str
    severity: Severity
    state: AlertState
    message: str
    runbook: str
    instrument: str | None
    count: int
    first_at: datetime
    last_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel is given; the same again when a try has failed.

    Attributes
    ----------
    key : str
        Of the pager's incident, or of this message; a channel that knows it tells nobody twice.
    firing : bool
        False: all that it is about is over.
    title : str
        One line.
    lines : tuple of Line
        The newest alerts; `total` says of how many.
    escalation : int
        How often nobody had acknowledged in time; 0 is the first time.
    at : datetime
    acknowledged : bool
        Somebody is on all that is not over of the pager's incident.
    """

    key: str
    firing: bool
    severity: Severity
    title: str
    lines: tuple[Line, ...]
    total: int
    escalation: int
    at: datetime
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to one channel.

    Attributes
    ----------
    tried : tuple of ChannelName
        Channels that gave this message up before.
    attempts : int
        Tries that have begun, this one too.
    """

    id: str
    channel: ChannelName
    severity: Severity
    message: Message
    tried: tuple[ChannelName, ...]
    state: DeliveryState
    created_at: datetime
    attempts: int
    last_error: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Since the database was made, and now.

    Attributes
    ----------
    sent : Mapping[(channel, severity), int]
        Messages that a channel took on.
    failed : Mapping[channel, int]
        Messages that were given up.
    suppressed : Mapping[severity, int]
        Events that nobody was told of, since the same was told a moment ago.
    live : Mapping[(severity, state), int]
        Alerts that are not resolved.
    waiting, dead : int
        Messages.
    oldest_waiting_at : datetime or None
    """

    sent: Mapping[tuple[str, str], int]
    failed: Mapping[str, int]
    suppressed: Mapping[str, int]
    live: Mapping[tuple[Severity, AlertState], int]
    waiting: int
    dead: int
    oldest_waiting_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """An entry of the business log that raises or ends an alert, and that alert.

    `alert` is None until it was taken up.
    """

    key: str
    type: EventType
    severity: str
    message: str
    actor: str
    at: datetime
    instrument: str | None
    data: Mapping[str, object]
    alert: Alert | None


@dataclass(frozen=True, slots=True)
class CaseEntry:
    at: datetime
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """Alerts that belong together, and what is done about them."""

    id: str
    title: str
    owner: str
    opened_by: str
    opened_at: datetime
    closed_by: str | None = None
    closed_at: datetime | None = None
    outcome: str = ""
    alerts: tuple[Alert, ...] = ()
    timeline: tuple[CaseEntry, ...] = ()


@runtime_checkable
class Channel(Protocol):
    """One way to tell people."""

    @property
    def name(self) -> ChannelName: ...

    def send(self, message: Message) -> None:
        """Hand the message over; returns once the other side has taken it on.

        Raises
        ------
        Throttled
            If it wants to be left alone for a while.
        Unreachable
            If it does not answer, or cannot now.
        Rejected
            If it understood and refuses this message.
        ConfigurationError
            If it does not know us: a person must change a setting.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class Channels(Protocol):
    """Opens the channels that are set up; the caller closes them."""

    def __call__(self) -> Sequence[Channel]: ...


@runtime_checkable
class Alerts(Protocol):
    """Every change is one transaction; any number of processes may ask at once."""

    def take_up(self, now: datetime, *, limit: int = 500) -> int:
        """Turn events that were not yet taken up into alerts; returns how many events."""
        ...

    def review(self, now: datetime, *, limit: int = 500) -> int:
        """Do what time alone asks for (end of suppression, escalation, expiry); returns how many alerts."""
        ...

    def compose(self, now: datetime) -> int:
        """Make messages of what is to be told; returns how many."""
        ...

    def claim(self, channel: ChannelName, now: datetime) -> Delivery | None:
        """The next message that is due for this channel, for this process alone for a while."""
        ...

    def sent(self, delivery: Delivery, now: datetime) -> None: ...

    def failed(
        self, delivery: Delivery, now: datetime, *, error: str, again_after_seconds: float | None
    ) -> None:
        """Try again after so long; None gives it up, and asks the next channel in its place."""
        ...

    def requeue(self, delivery_id: str, now: datetime) -> bool:
        """Try one that was given up again; False if it was not."""
        ...

    def get(self, alert_id: str) -> Alert:
        """Raises NotFound."""
        ...

    def list(
        self, *, states: Sequence[AlertState] = (), limit: int = 100, offset: int = 0
    ) -> Sequence[Alert]:
        """Newest first; of all states where none is named."""
        ...

    def ended(self, since: datetime, *, limit: int = 100) -> Sequence[Alert]:
        """Those that were resolved since then, newest first."""
        ...

    def ended_by_hand(self, fingerprints: Sequence[str]) -> Mapping[str, datetime]:
        """When a person resolved an alert of each fingerprint last; those alone of which one was."""
        ...

    def history(
        self,
        *,
        start: datetime,
        end: datetime,
        severity: str | None = None,
        instrument: str | None = None,
        state: AlertState | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[AlertEvent]:
        """Events of the type ALERT with what became of them, newest first."""
        ...

    def acknowledge(self, alert_id: str, *, actor: str, now: datetime, event: Event) -> bool:
        """Somebody is on it, which pagers are told; False if it was acknowledged or resolved before."""
        ...

    def resolve(self, alert_id: str, *, actor: str, reason: str, now: datetime, event: Event) -> bool:
        """It is over; False if it was before."""
        ...

    def dead_letters(self, *, limit: int = 100) -> Sequence[Delivery]:
        """Messages that were given up, newest first."""
        ...

    def totals(self) -> Totals: ...

    def forget(self, before: datetime) -> int:
        """Delete alerts that were resolved before, and belong to no case; returns how many."""
        ...

    def open_case(self, case: Case, alert_ids: Sequence[str], event: Event) -> None: ...

    def note(self, case_id: str, entry: CaseEntry) -> None:
        """Add to the timeline of a case that is open; raises NotFound or Refused."""
        ...

    def close_case(self, case_id: str, *, actor: str, outcome: str, now: datetime, event: Event) -> bool: ...

    def case(self, case_id: str) -> Case:
        """Raises NotFound."""
        ...

    def cases(self, *, open_only: bool = True, limit: int = 100) -> Sequence[Case]:
        """Newest first."""
        ...
