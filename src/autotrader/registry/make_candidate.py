"""Let a version that failed be deployed again."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.ports.registry import ModelRegistry, ModelStatus, StatusChange
from autotrader.registry.lifecycle import require_reason


def make_candidate(
    *, version: str, reason: str, model: str | None = None, settings: Settings, registry: ModelRegistry
) -> command.Result:
    """Let a version that failed be deployed and returned to again.

    Refused unless it is failed, and always where it never passed its gates. It moves no alias and no
    traffic. Run again, it changes nothing. Where MLflow does not answer, the change is made all the
    same, and exit code 3 says that MLflow does not show it yet.

    Parameters
    ----------
    version : str
        Semver (v1.2.3), number (7) or alias (champion, challenger, previous).
    reason : str
        Why it was not the version's fault; kept with it and in the event log.
    model : str
        Registered model; default: the strategy's.
    """
    name = model or settings.strategy.strategy_id
    reason = require_reason(reason)
    found = registry.get(name, version)
    if found.status is ModelStatus.CANDIDATE:
        text = f"{name} {found.semver} is candidate already ({found.reason}): nothing was changed"
        return command.Result({"version": found, "changed": False}, text)
    change = StatusChange(found.semver, ModelStatus.CANDIDATE, expected=ModelStatus.FAILED)
    registry.change(name, [change], reason=reason, actor=operator())
    made = registry.get(name, found.semver)
    return command.Result(
        {"version": made, "changed": True}, f"{name} {made.semver} is {made.status}: {made.reason}"
    )


if __name__ == "__main__":
    raise SystemExit(command.run(make_candidate))
