"""Open a case."""

from __future__ import annotations

from uuid import uuid4

from autotrader import command
from autotrader.alerts.changes import audit
from autotrader.alerts.wording import one_line
from autotrader.config.actor import operator
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.alerts import Alerts, Case
from autotrader.ports.clock import WallClock


def open_case(
    *,
    title: str,
    alert: tuple[str, ...] = (),
    owner: str | None = None,
    alerts: Alerts,
    clock: WallClock,
) -> command.Result:
    """Put alerts that belong together into one case, with an owner and a timeline.

    Alerts of the same name and instrument that are raised while it is open join it by themselves.

    Parameters
    ----------
    title : str
        What is wrong, in a few words.
    alert : tuple of str
        Ids of alerts, as `autotrader alerts list` shows them.
    owner : str or None
        Who sees to it; left out, whoever opens it.
    """
    what = one_line(title)
    if not what:
        raise ConfigurationError("expected --title, was empty: say what is wrong")
    actor, now = operator(), clock.now()
    case = Case(
        id=f"{now:%Y%m%d}-{uuid4().hex[:6]}",
        title=what,
        owner=one_line(owner or actor, 100),
        opened_by=actor,
        opened_at=now,
    )
    event = audit("case-opened", case.id, f"{actor} opened case {case.id}: {what}", actor=actor, at=now)
    alerts.open_case(case, alert, event)
    return command.Result(
        {"id": case.id, "title": what, "owner": case.owner, "alerts": alert}, f"opened case {case.id}: {what}"
    )


if __name__ == "__main__":
    raise SystemExit(command.run(open_case))
