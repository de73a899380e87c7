"""Whether registry, traffic and recorded state say the same."""

from __future__ import annotations

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.deployment.projection import Projection
from autotrader.domain.errors import AutotraderError, ConfigurationError, ExitCode
from autotrader.domain.rollout import Color, RolloutState
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, SlotState
from autotrader.ports.registry import ModelRegistry

NOBODY = "nobody"


def check_agreement(
    *,
    live: str | None = None,
    converge: bool = False,
    settings: Settings,
    records: DeploymentRecords,
    registry: ModelRegistry,
    target: DeploymentTarget,
    clock: WallClock,
) -> command.Result:
    """Whether registry, traffic and recorded state agree; exit code 3 names what is pending.

    Parameters
    ----------
    live : str or None
        The version that is expected to be live, or `nobody`.
    converge : bool
        Make the registry agree first.
    """
    if live == "":
        raise ConfigurationError("expected a version or nobody as --live, was empty")
    projection = Projection(records, registry, clock, target=target, model=settings.strategy.strategy_id)
    if converge:
        projection.converge(now=True)
    pending = (*_of_traffic(records, target, clock, expected=live), *_of_registry(projection))
    found = records.live()
    data = {"live": found.version if found else None, "agree": not pending, "pending": pending}
    if pending:
        return command.Result(data, "pending: " + "; ".join(pending), ExitCode.UNREACHABLE)
    what = f"{found.version} on {found.candidate}" if found else NOBODY
    return command.Result(data, f"registry, traffic and recorded state agree: {what} is live")


def _of_traffic(
    records: DeploymentRecords, target: DeploymentTarget, clock: WallClock, *, expected: str | None
) -> list[str]:
    live, active, slots, now = records.live(), records.active(), records.slots(), clock.now()
    version = live.version if live else NOBODY
    pending = []
    if expected not in (None, version):
        pending.append(f"state: expected {expected} live, was {version}")
    if active is not None and active.state is RolloutState.ROLLING_BACK:
        pending.append(f"state: {active.version} is still being cleared from {active.candidate}")
    for color in Color:
        slot, health = slots.get(color), target.health(color)
        if slot is None or slot.state is SlotState.EMPTY:
            if health.live and (active is None or active.candidate is not color):
                pending.append(
                    f"traffic: {color} still runs {health.version}, though it is recorded as empty"
                )
        elif (
            live is not None and color is live.candidate and not (health.ready and health.version == version)
        ):
            pending.append(f"traffic: {color} does not serve {version}: {health.reason}")
    if live is not None and active is None:
        strays = [route.instrument for route in records.routes() if route.owner(now) is not live.candidate]
        if strays:
            pending.append(f"traffic: {', '.join(strays)} not on {live.candidate}")
    return pending


def _of_registry(projection: Projection) -> tuple[str, ...]:
    if projection.pending:
        return projection.pending
    try:
        return projection.disagreements()
    except AutotraderError as error:
        return (f"not known: {error}",)


if __name__ == "__main__":
    raise SystemExit(command.run(check_agreement))
