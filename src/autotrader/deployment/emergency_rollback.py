"""All traffic back to the version before, now."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.deployment.projection import Projection
from autotrader.deployment.returning import Way, way_back
from autotrader.deployment.switching import Switching, scope_of
from autotrader.domain.errors import ExitCode, Unreachable
from autotrader.domain.rollout import Outcome, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget
from autotrader.ports.registry import ModelRegistry
from autotrader.registry.lifecycle import require_reason


def emergency_rollback(
    *,
    reason: str,
    version: str | None = None,
    to_version: str | None = None,
    timeout_seconds: float = 300.0,
    converge: bool = True,
    dry_run: bool = False,
    settings: Settings,
    records: DeploymentRecords,
    registry: ModelRegistry,
    target: DeploymentTarget,
    clock: WallClock,
) -> command.Result:
    """Return all traffic to the version that was live before, at once.

    Where a rollout is under way, it is taken back. Otherwise the version before the live one takes
    over again: at once while its colour is kept warm, else as soon as it is up and has passed its
    integration tests. Needs no controller for what is warm. May itself be rolled back.

    Parameters
    ----------
    reason : str
        Why; kept with the rollout and in the event log.
    version : str or None
        The version to leave, so that a call which comes twice, or too late, leaves no other. Required
        while traffic is being switched at once, and for ten minutes after.
    to_version : str or None
        The version to return to instead of the one before; `version` must be live then.
    timeout_seconds : float
        Patience with a version that must be started first.
    converge : bool
        Make the registry agree as well; else the controller does, or `check_agreement --converge`.
    dry_run : bool
        Say what would be done, and do nothing.
    """
    reason = require_reason(reason)
    actor = operator()
    began = clock.monotonic()
    model = settings.strategy.strategy_id
    back = way_back(records, registry, model, version=version, to_version=to_version, now=clock.now())
    live, left = back.to, back.left
    done: dict[str, object] = {"way": back.way, "live": live, "left": left, "color": back.color}
    done |= {"reason": reason, "changed": False, "pending": ()}
    if dry_run:
        return command.Result(done, f"dry run: {back}")
    rollout = back.rollout
    match back.way:
        case Way.TAKE_BACK:
            taken_back = requests.take_back(records, reason, actor=actor, now=clock.now)
            if taken_back is None or taken_back.version != left:
                raise Unreachable(f"expected to take back {left}, was changed meanwhile: run it again")
        case Way.SWITCH if live is not None:
            switching = Switching(settings, records, target, clock)
            rollout = switching.to(live, reason=reason, actor=actor)
    if back.way in (Way.SWITCH, Way.WAIT) and rollout is not None and not rollout.state.is_over:
        end = requests.wait(
            records,
            rollout.id,
            Stage.FINALIZE,
            scope_of(settings),
            clock=clock,
            timeout_seconds=timeout_seconds,
        )
        if end.outcome is not Outcome.PASS:
            seconds = clock.monotonic() - began
            data = {"live": left, "left": None, "reason": end.reason, "seconds": seconds}
            return command.Result(data, f"{left} still is live: {end.reason}", ExitCode.FAILED)
    seconds = clock.monotonic() - began
    done |= {"seconds": round(seconds, 3), "changed": back.way is not Way.NOTHING}
    to = live or "nobody: nothing was live before"
    text = f"traffic is on {to}, {left} is left ({seconds:.2f} s): {reason}"
    if back.way is Way.NOTHING:
        text = f"nothing was changed: {back}"
    if converge:
        projection = Projection(records, registry, clock, target=target, model=model)
        projection.converge(now=True)
        if projection.pending:
            done["pending"] = projection.pending
            text = f"{text}\nstill to do: {'; '.join(projection.pending)}"
            return command.Result(done, text, ExitCode.UNREACHABLE)
    return command.Result(done, text)


if __name__ == "__main__":
    raise SystemExit(command.run(emergency_rollback))
