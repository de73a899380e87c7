"""Go back from one version to another."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.domain.errors import Refused
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.registry import (
    Alias,
    AliasChange,
    ModelRegistry,
    ModelStatus,
    ModelVersion,
    StatusChange,
)
from autotrader.registry.lifecycle import DEAD, require_reason, why_not_live
from autotrader.registry.traffic import rollout_of, way_to_leave


def rollback(
    *,
    from_version: str,
    to_version: str,
    reason: str,
    model: str | None = None,
    settings: Settings,
    registry: ModelRegistry,
    records: DeploymentRecords,
) -> command.Result:
    """Go back from one version to another in the registry: all aliases and statuses, or none.

    It moves no traffic, and the registry follows the traffic: refused while the first version is live or
    being rolled out, which `emergency_rollback` ends, and which puts the registry right by itself.
    Where the first is champion, the second takes its place, and the first becomes `previous`, so
    that the rollback can itself be rolled back; a failed one becomes nothing, since nobody may return
    to it. Where the first is challenger of the second, it is withdrawn. Run again, it changes nothing.
    Where MLflow does not answer, the rollback is made all the same, and exit code 3 says what MLflow
    does not show yet.

    Parameters
    ----------
    from_version : str
        Version that is champion or challenger now.
    to_version : str
        Version to return to; refused if it failed, was rejected, or never passed its gates.
    reason : str
        Why; kept with both versions and in the event log.
    model : str
        Registered model; default: the strategy's.
    """
    name = model or settings.strategy.strategy_id
    reason = require_reason(reason)
    old, new = registry.get(name, from_version), registry.get(name, to_version)
    why_not = "it is the version to leave" if old.semver == new.semver else why_not_live(new)
    if why_not:
        raise Refused(f"expected a version to return to, was {new.semver}: {why_not}. Nothing was changed")
    rollout = rollout_of(records, old.semver) if name == settings.strategy.strategy_id else None
    if rollout is not None:
        raise Refused(
            f"expected a version without traffic, was {old.semver} on {rollout.candidate}, at {rollout.stage}"
            f" ({rollout.state}): {way_to_leave(registry, name, rollout)}. Nothing was changed"
        )
    changes = _changes(old, new)
    if changes:
        registry.change(name, changes, reason=reason, actor=operator())
    champion, left = registry.get(name, new.semver), registry.get(name, old.semver)
    return command.Result(
        {"champion": champion, "left": left, "changed": bool(changes)},
        f"{name}: champion is {champion.semver} ({champion.status}); "
        f"{left.semver} is {', '.join([left.status, *left.aliases])}"
        + ("" if changes else " (it was so already: nothing was changed)"),
    )


def _changes(old: ModelVersion, new: ModelVersion) -> list[StatusChange | AliasChange]:
    changes: list[StatusChange | AliasChange] = []
    if Alias.CHAMPION in old.aliases:
        changes = [
            AliasChange(Alias.CHAMPION, new.semver, expected=old.semver),
            AliasChange(Alias.PREVIOUS, None if why_not_live(old) else old.semver),
            StatusChange(new.semver, ModelStatus.PRODUCTION),
        ]
        if Alias.CHALLENGER in new.aliases:
            changes.append(AliasChange(Alias.CHALLENGER, None, expected=new.semver))
    elif Alias.CHAMPION in new.aliases and Alias.CHALLENGER in old.aliases:
        changes = [AliasChange(Alias.CHALLENGER, None, expected=old.semver)]
    elif Alias.CHAMPION in new.aliases and old.status in (ModelStatus.ARCHIVED, *DEAD):
        return []
    else:
        raise Refused(
            f"expected {old.semver} to be champion, or challenger of {new.semver}, was "
            f"{', '.join(old.aliases) or 'neither'}: nothing was changed"
        )
    if old.status not in DEAD:
        changes.append(StatusChange(old.semver, ModelStatus.ARCHIVED))
    return changes


if __name__ == "__main__":
    raise SystemExit(command.run(rollback))
