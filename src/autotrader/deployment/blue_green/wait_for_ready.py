"""Wait until the version that comes up may take traffic."""

from __future__ import annotations

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.deployment.switching import scope_of
from autotrader.domain.errors import ExitCode, NotFound
from autotrader.domain.rollout import Outcome, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords


def wait_for_ready(
    *, timeout: float = 300.0, settings: Settings, records: DeploymentRecords, clock: WallClock
) -> command.Result:
    """Wait until the candidate is up and has passed its integration tests.

    Parameters
    ----------
    timeout : float
        Seconds; then exit code 3, and the rollout goes on.
    """
    rollout = records.active()
    if rollout is None:
        raise NotFound("expected a rollout under way, was none: deploy_green begins one")
    found = requests.wait(
        records, rollout.id, Stage.INTEGRATION_TESTS, scope_of(settings), clock=clock, timeout_seconds=timeout
    )
    ready = found.outcome is Outcome.PASS
    data = {"rollout": rollout.id, "version": rollout.version, "color": rollout.candidate, "ready": ready}
    text = f"{rollout.version} on {rollout.candidate}: {'ready' if ready else 'not ready'}: {found.reason}"
    return command.Result(data, text, ExitCode.DONE if ready else ExitCode.FAILED)


if __name__ == "__main__":
    raise SystemExit(command.run(wait_for_ready))
