"""Try a message again that was given up."""

from __future__ import annotations

from autotrader import command
from autotrader.domain.errors import NotFound
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import WallClock


def requeue(*, id: str, alerts: Alerts, clock: WallClock) -> command.Result:
    """Try a message again that was given up, once what refused it is mended.

    Parameters
    ----------
    id : str
        Of the message, as `autotrader alerts list --dead-letters` shows it.
    """
    if not alerts.requeue(id, clock.now()):
        raise NotFound(
            f"expected a message that was given up, was {id[:64]!r}: "
            "`autotrader alerts list --dead-letters` shows them"
        )
    return command.Result({"id": id, "waiting": True}, f"{id} waits to be sent")


if __name__ == "__main__":
    raise SystemExit(command.run(requeue))
