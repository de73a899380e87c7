"""Let a paused rollout go on."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.deployment import requests
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.registry.lifecycle import require_reason


def resume(*, reason: str, records: DeploymentRecords, clock: WallClock) -> command.Result:
    """Send a rollout on that is paused since its watch could not decide.

    Parameters
    ----------
    reason : str
        What you judged, and by what; kept with the stage and in the event log.
    """
    rollout = requests.send_on(records, require_reason(reason), actor=operator(), now=clock.now())
    return command.Result(rollout, f"{rollout.version}: goes on after {rollout.stage.value}")


if __name__ == "__main__":
    raise SystemExit(command.run(resume))
