"""Wait until nobody asks a version any more."""

from __future__ import annotations

import time

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.deployment.leaving import require_left, slot_of
from autotrader.domain.errors import Unreachable
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords


def drain(
    *, version: str, settings: Settings, records: DeploymentRecords, clock: WallClock
) -> command.Result:
    """Wait until requests that were on their way to a version when it was left have been answered.

    Callers read who answers for an instrument with each request, so that no new one comes once
    the routes have changed.

    Parameters
    ----------
    version : str
        That was left; refused while it is live or being rolled out.
    """
    require_left(records, version)
    slot = slot_of(records, version)
    if slot is None:
        return command.Result({"version": version, "seconds": 0.0}, f"nothing runs of {version}")
    now = clock.now()
    routes = records.routes()
    asking = [route.instrument for route in routes if route.owner(now) is slot.color]
    if asking:
        raise Unreachable(
            f"expected nobody to ask {slot.color}, was {', '.join(asking)}: roll back first, then run again"
        )
    left = max((route.changed_at for route in routes), default=now)
    seconds = max(0.0, settings.serving.drain_seconds - (now - left).total_seconds())
    time.sleep(min(seconds, settings.serving.drain_seconds))
    return command.Result(
        {"version": version, "color": slot.color, "seconds": round(seconds, 3)},
        f"{version} on {slot.color} has answered what it was asked (waited {seconds:.1f} s)",
    )


if __name__ == "__main__":
    raise SystemExit(command.run(drain))
