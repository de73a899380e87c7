"""Stop what still runs of a version that was left."""

from __future__ import annotations

import time
from dataclasses import replace

from autotrader import command
from autotrader.config.actor import operator
from autotrader.deployment.leaving import require_left, slot_of
from autotrader.deployment.requests import POLL_SECONDS, require_controller
from autotrader.domain.errors import Unreachable
from autotrader.domain.rollout import RolloutState
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.registry.lifecycle import require_reason


def scale_down(
    *,
    version: str,
    reason: str,
    timeout: float = 180.0,
    records: DeploymentRecords,
    clock: WallClock,
) -> command.Result:
    """Stop the colour of a version that was left, instead of keeping it warm. May be repeated.

    The controller stops it: whoever else did so would have it started again. To return to the
    version later takes as long as starting it.

    Parameters
    ----------
    version : str
        Refused while it is live or being rolled out.
    reason : str
        Why; kept with the colour.
    timeout : float
        Seconds to wait for the controller; then exit code 3, and it goes on.
    """
    reason = require_reason(reason)
    deadline = clock.monotonic() + timeout
    stopped = None
    while True:
        require_left(records, version)
        slot, active, now = slot_of(records, version), records.active(), clock.now()
        clearing = active is not None and active.version == version
        if slot is None and not clearing:
            text = f"{version} is stopped on {stopped}" if stopped else f"nothing runs of {version}"
            return command.Result({"version": version, "color": stopped}, text)
        if slot is not None:
            stopped = slot.color
            if not clearing and (slot.warm_until is None or slot.warm_until > now):
                due = replace(slot, warm_until=now, reason=reason, changed_by=operator())
                records.replace_slot(slot, due)  # or it was changed meanwhile, and is read again
        require_controller(records, now)
        if clock.monotonic() >= deadline:
            doing = active.state if active and active.state is RolloutState.ROLLING_BACK else "running"
            raise Unreachable(
                f"expected {version} to be stopped within {timeout:g} s, was {doing}: the controller goes on"
            )
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    raise SystemExit(command.run(scale_down))
