"""Who is told of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autotrader.domain.alerts import Severity
from autotrader.ports.alerts import Alert, ChannelName, Telling

# Where a route's own channels are not set up, or one of them gave a message up. News wakes nobody.
_PAGERS = (ChannelName.PAGERDUTY, ChannelName.OPSGENIE)
_OTHERS = (ChannelName.SLACK, ChannelName.EMAIL, ChannelName.WEBHOOK)


@dataclass(frozen=True, slots=True)
class Routing:
    """The routes, and which channels are there.

    Attributes
    ----------
    ready : sequence of ChannelName
        Channels that are set up, besides the log; with ALERTMANAGER among them it is the only one.
    routes : Mapping[Severity, sequence of ChannelName]
    escalation : sequence of ChannelName
        Told beside the route of a critical alert that nobody acknowledges.
    relay : Mapping[Severity, ChannelName]
        Whom Alertmanager tells of an alert that it relays to us: the ways that are set up.
    """

    ready: Sequence[ChannelName] = ()
    routes: Mapping[Severity, Sequence[ChannelName]] = field(default_factory=dict)
    escalation: Sequence[ChannelName] = ()
    relay: Mapping[Severity, ChannelName] = field(default_factory=dict)

    @property
    def opened(self) -> tuple[ChannelName, ...]:
        """Channels that a message may go to, besides the log."""
        return tuple(dict.fromkeys((*self.ready, *self.relay.values())))

    @property
    def by_alertmanager(self) -> bool:
        return ChannelName.ALERTMANAGER in self.ready

    def channels(self, alert: Alert, telling: Telling) -> tuple[ChannelName, ...]:
        """Whom to tell, the log first; that it is over is told to those who were told of it."""
        if alert.relayed:
            return (ChannelName.LOG,)
        if self.by_alertmanager:
            return (ChannelName.LOG, ChannelName.ALERTMANAGER)
        named = list(self.routes.get(alert.severity, ()))
        if alert.escalations or telling is Telling.ESCALATED:
            named += self._next(alert.severity)
        found = [name for name in dict.fromkeys(named) if name in self.ready]
        if not found:
            found = list(self._fallbacks(alert.severity))[:1]
        return (ChannelName.LOG, *found)

    def instead(self, severity: Severity, tried: Sequence[ChannelName]) -> ChannelName | None:
        """The channel to ask after these gave a message up."""
        if self.by_alertmanager or severity is Severity.INFO:
            return None
        return next((name for name in self._fallbacks(severity) if name not in tried), None)

    def _next(self, severity: Severity) -> Sequence[ChannelName]:
        match severity:
            case Severity.INFO:
                return self.routes.get(Severity.WARNING, ())
            case Severity.WARNING:
                return self.routes.get(Severity.CRITICAL, ())
        return self.escalation

    def _fallbacks(self, severity: Severity) -> Sequence[ChannelName]:
        order = (*_PAGERS, *_OTHERS) if severity is Severity.CRITICAL else _OTHERS
        return [name for name in order if name in self.ready]
