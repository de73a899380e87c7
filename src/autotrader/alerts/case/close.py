"""Close a case."""

from __future__ import annotations

from autotrader import command
from autotrader.alerts.changes import audit
from autotrader.alerts.wording import one_line
from autotrader.config.actor import operator
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import WallClock


def close(*, case: str, outcome: str, alerts: Alerts, clock: WallClock) -> command.Result:
    """Close a case; its alerts stay as they are. `report` then prints the page of the post-mortem.

    Parameters
    ----------
    case : str
        Id of the case.
    outcome : str
        How it ended, in a sentence.
    """
    how = one_line(outcome)
    if not how:
        raise ConfigurationError("expected --outcome, was empty: say how it ended")
    actor, now = operator(), clock.now()
    event = audit("case-closed", case, f"{actor} closed case {case}: {how}", actor=actor, at=now)
    closed = alerts.close_case(case, actor=actor, outcome=how, now=now, event=event)
    said = f"closed case {case}" if closed else f"case {case} was closed before: nothing was done"
    return command.Result({"id": case, "closed": closed}, said)


if __name__ == "__main__":
    raise SystemExit(command.run(close))
