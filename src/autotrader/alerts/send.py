"""Raise an alert by hand or from a script: `python -m autotrader.alerts.send`."""

from __future__ import annotations

from uuid import uuid4

from autotrader import command
from autotrader.alerts.sources import OPERATOR, named
from autotrader.alerts.wording import one_line
from autotrader.config.actor import operator
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventLog, EventType


def send(
    *,
    level: Severity,
    message: str,
    key: str | None = None,
    name: str = OPERATOR,
    fingerprint: str | None = None,
    runbook: str | None = None,
    instrument: str | None = None,
    resolved: bool = False,
    events: EventLog,
    clock: WallClock,
) -> command.Result:
    """Put an alert into the business log, from which alerts are delivered.

    It returns once the alert is durable; `python -m autotrader.apps.alerts` tells people.

    Parameters
    ----------
    level : Severity
        How urgent it is.
    message : str
        One sentence for a person.
    key : str or None
        Names this occasion: an alert of the same key is raised once.
    name : str
        Name of the alert, such as DataPipelineFailure: those of one name are told together.
    fingerprint : str or None
        Names what is wrong: alerts of the same fingerprint are one alert, until it is resolved. Left out,
        each occasion is one of its own.
    runbook : str or None
        URL of a page, or its path below the runbooks; left out, the page of the name.
    instrument : str or None
        Such as binance:BTCUSDT.
    resolved : bool
        It is over: resolve the alert of this fingerprint.
    """
    told = one_line(message)
    if not told:
        raise ConfigurationError("expected --message, was empty: say what happened")
    if named(name) != name:
        raise ConfigurationError(f"expected --name of letters, digits and _, was {name[:100]!r}")
    if resolved and fingerprint is None:
        raise ConfigurationError("expected --fingerprint beside --resolved, was none: say what is over")
    data = {"alert": name, "fingerprint": fingerprint, "runbook": runbook, "resolved": resolved or None}
    recorded = events.record(
        Event(
            key=f"alert/{key or uuid4().hex}",
            type=EventType.ALERT,
            severity=level.value,
            message=told,
            actor=operator(),
            at=clock.now(),
            instrument=_instrument(instrument) if instrument else None,
            data={name: value for name, value in data.items() if value is not None},
        )
    )
    said = f"alert ({level}): {told}" if recorded else f"alert {key} was raised before: nothing was done"
    return command.Result({"level": level, "message": told, "raised": recorded}, said)


def _instrument(text: str) -> str:
    try:
        return str(InstrumentId.parse(text))
    except ValueError as error:
        raise ConfigurationError(f"--instrument: {error}") from None


if __name__ == "__main__":
    raise SystemExit(command.run(send))
