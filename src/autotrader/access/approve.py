"""Sign a version for production, or refuse to."""

from __future__ import annotations

from autotrader import command
from autotrader.access.authentication import authenticate, given_token
from autotrader.access.sign_off import decide, subject_of
from autotrader.config.settings import Settings
from autotrader.ports.approvals import Approvals, Decision, Role
from autotrader.ports.clock import WallClock
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.tokens import Tokens


def approve(
    *,
    model_version: str,
    role: Role,
    decision: Decision,
    reason: str,
    model: str | None = None,
    settings: Settings,
    registry: ModelRegistry,
    approvals: Approvals,
    tokens: Tokens,
    clock: WallClock,
) -> command.Result:
    """Sign a version for production, or refuse to, as the identity of your token.

    The token is taken from the environment variable AUTOTRADER_TOKEN, or asked for at the terminal. Two
    different people sign, one for Quant Engineering and one for Risk, and neither may have asked for
    the deployment. A sign-off is for the bytes and the gate report as they are now: if either
    changes, it is void. Exit code 4 if you may not decide so.

    Parameters
    ----------
    model_version : str
        Semver (v1.2.3), number (7) or alias (champion, challenger, previous).
    role : Role
        For whom you sign.
    decision : Decision
        A rejection by either ends it.
    reason : str
        Why; kept with the decision and in the event log.
    model : str
        Registered model; default: the strategy's.
    """
    identity = authenticate(tokens, given_token(), now=clock.now())
    version = registry.get(model or settings.strategy.strategy_id, model_version)
    state = decide(
        approvals,
        subject_of(version),
        role=role,
        decision=decision,
        reason=reason,
        identity=identity,
        now=clock.now(),
    )
    return command.Result(state, f"{version.name} {version.semver}: {state.state} ({state.reason})")


if __name__ == "__main__":
    raise SystemExit(command.run(approve))
