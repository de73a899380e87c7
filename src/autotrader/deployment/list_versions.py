"""Versions that could be deployed, and what became of those that were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.registry import ModelRegistry
from autotrader.registry.lifecycle import why_not_live


@dataclass(frozen=True, slots=True)
class VersionLine:
    """A version, with its last rollout."""

    version: str
    status: str
    aliases: tuple[str, ...]
    may_serve: bool
    why_not: str | None
    color: str | None
    last_rollout: str | None
    created_at: datetime

    def __str__(self) -> str:
        marks = ", ".join(self.aliases) + (f" [{self.color}]" if self.color else "")
        return f"{self.version:<10} {self.status:<11} {marks:<26} {self.why_not or self.last_rollout or ''}"


def list_versions(
    *, limit: int = 20, settings: Settings, registry: ModelRegistry, records: DeploymentRecords
) -> command.Result:
    """The newest versions: which may serve, which do, and how their last rollout ended.

    Parameters
    ----------
    limit : int
        How many.
    """
    held = {slot.version: color.value for color, slot in records.slots().items() if slot.version}
    rollouts = {rollout.version: rollout for rollout in reversed(records.recent(100))}
    lines = []
    for version in registry.list(settings.strategy.strategy_id)[:limit]:
        why_not = why_not_live(version)
        rollout = rollouts.get(version.semver)
        lines.append(
            VersionLine(
                version=version.semver,
                status=version.status.value,
                aliases=tuple(alias.value for alias in version.aliases),
                may_serve=why_not is None,
                why_not=why_not,
                color=held.get(version.semver),
                last_rollout=f"{rollout.state.value}: {rollout.reason}" if rollout else None,
                created_at=version.created_at,
            )
        )
    return command.Result(lines, "\n".join(map(str, lines)) or "no version is registered")


if __name__ == "__main__":
    raise SystemExit(command.run(list_versions))
