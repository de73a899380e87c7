"""One pass of the outbox, and one message on its way. What is durable is in the database alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from autotrader.alerts.channels.alertmanager import AlertmanagerChannel
from autotrader.alerts.messages import line_of
from autotrader.alerts.wording import one_line
from autotrader.domain.errors import (
    AutotraderError,
    ConfigurationError,
    DependencyError,
    Rejected,
    Throttled,
)
from autotrader.domain.thresholds import ALERTING
from autotrader.ports.alerts import Alert, Alerts, AlertState, Channel, ChannelName, Delivery
from autotrader.ports.clock import WallClock

log = structlog.get_logger(__name__)

_PAGE = 500
_MOST_KEPT = 20_000


def prepare(alerts: Alerts, clock: WallClock) -> int:
    """Take up what happened, do what is due, and make messages of it; returns how many messages.

    All that happened comes first, so that a flood is one message.
    """
    while alerts.take_up(clock.now(), limit=_PAGE) == _PAGE:
        pass
    while alerts.review(clock.now(), limit=_PAGE) == _PAGE:
        pass
    return alerts.compose(clock.now())


def deliver_one(alerts: Alerts, channel: Channel, clock: WallClock) -> bool:
    """Send the next message that is due; False if there is none.

    A process that dies here leaves the message waiting: another one sends it after a while. Whoever
    knows the message's key is told once then, others may be told twice.
    """
    delivery = alerts.claim(channel.name, clock.now())
    if delivery is None:
        return False
    try:
        channel.send(delivery.message)
    except (DependencyError, ConfigurationError) as error:
        again = pause_seconds(delivery, error)
        log.warning(
            "an alert was not delivered",
            channel=channel.name.value,
            delivery=delivery.id,
            attempt=delivery.attempts,
            again_after_seconds=again,
            reason=str(error),
        )
        alerts.failed(delivery, clock.now(), error=one_line(str(error)), again_after_seconds=again)
    else:
        alerts.sent(delivery, clock.now())
    return True


def pause_seconds(delivery: Delivery, error: AutotraderError) -> float | None:
    """How long to wait before the next try; None: give it up."""
    is_mail = delivery.channel is ChannelName.EMAIL
    if isinstance(error, (Rejected, ConfigurationError)) or delivery.attempts >= ALERTING.attempts:
        return None
    if is_mail:
        # The mail server was asked three times, 5 s apart, within the one try.
        return ALERTING.longest_pause_seconds if delivery.attempts > 1 else 60.0
    pause = min(ALERTING.first_pause_seconds * 2.0 ** (delivery.attempts - 1), ALERTING.longest_pause_seconds)
    return max(pause, error.retry_after_seconds) if isinstance(error, Throttled) else pause


def keep_alive(alerts: Alerts, channel: AlertmanagerChannel, runbooks: str, clock: WallClock) -> int:
    """Tell an Alertmanager of all that are live, which it would forget; returns how many.

    Of those that ended lately, too: it forgets an end that comes while another alert inhibits it.
    Raises as `Channel.send` does.
    """
    ours = [alert for alert in every_live(alerts) if not alert.relayed]
    live = {alert.fingerprint for alert in ours}
    ended = alerts.ended(clock.now() - ALERTING.end_repeated, limit=_MOST_KEPT)
    ours += [alert for alert in ended if not alert.relayed and alert.fingerprint not in live]
    for start in range(0, len(ours), _PAGE):
        channel.keep([line_of(alert, runbooks) for alert in ours[start : start + _PAGE]])
    return len(ours)


def every_live(
    alerts: Alerts, states: Sequence[AlertState] = (AlertState.OPEN, AlertState.ACKNOWLEDGED)
) -> Iterator[Alert]:
    """Those that are open or acknowledged, newest first, as far as anybody can read them."""
    for start in range(0, _MOST_KEPT, _PAGE):
        found = alerts.list(states=states, limit=_PAGE, offset=start)
        yield from found
        if len(found) < _PAGE:
            return
