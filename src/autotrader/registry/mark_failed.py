"""Mark a version as failed, so that it is not deployed or returned to."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import RolloutState
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.registry import Alias, ModelRegistry, ModelStatus, ModelVersion
from autotrader.registry.lifecycle import why_not_live
from autotrader.registry.traffic import rollout_of, way_to_leave


def mark_failed(
    *,
    version: str,
    reason: str,
    model: str | None = None,
    settings: Settings,
    registry: ModelRegistry,
    records: DeploymentRecords,
) -> command.Result:
    """Mark a version as failed, so that it is not deployed or returned to.

    It moves no alias and no traffic: where the version is live or being rolled out, the output says
    which rollback is needed. `make_candidate` takes the mark away. Where MLflow does not answer, the
    mark is made all the same, and exit code 3 says that MLflow does not show it yet.

    Parameters
    ----------
    version : str
        Semver (v1.2.3), number (7) or alias (champion, challenger, previous).
    reason : str
        Why; kept with the version and in the event log.
    model : str
        Registered model; default: the strategy's.
    """
    name = model or settings.strategy.strategy_id
    marked = registry.set_status(name, version, ModelStatus.FAILED, reason=reason, actor=operator())
    lines = [f"{name} {marked.semver} is failed: {marked.reason}"]
    rollout = rollout_of(records, marked.semver) if name == settings.strategy.strategy_id else None
    held = [alias for alias in marked.aliases if alias is not Alias.PREVIOUS]
    if rollout is not None:
        is_live = rollout.state is RolloutState.COMPLETED
        still = f"live on {rollout.candidate}" if is_live else f"being rolled out, at {rollout.stage}"
        lines.append(f"It is still {still}. Roll back: {way_to_leave(registry, name, rollout)}")
    elif held:
        lines.append(f"It is still {' and '.join(held)}. Roll back: {_rollback(registry, marked)}")
    needed = rollout is not None or bool(held)
    return command.Result({"version": marked, "rollback_needed": needed}, "\n".join(lines))


def _rollback(registry: ModelRegistry, failed: ModelVersion) -> str:
    """Of what the registry names and no rollout knows: a challenger that waits, or another model."""
    safe = Alias.PREVIOUS if Alias.CHAMPION in failed.aliases else Alias.CHAMPION
    try:
        found = registry.get(failed.name, safe)
    except NotFound:
        target = "VERSION"
    else:
        target = found.semver if why_not_live(found) is None else "VERSION"
    return (
        f"python -m autotrader.registry.rollback --from-version {failed.semver} --to-version {target} "
        "--reason REASON"
    )


if __name__ == "__main__":
    raise SystemExit(command.run(mark_failed))
