"""Make a token."""

from __future__ import annotations

from autotrader import command
from autotrader.access.authentication import VARIABLE, issue
from autotrader.config.actor import operator
from autotrader.domain.errors import DependencyError
from autotrader.ports.approvals import Role
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Scope, Tokens


def create_token(
    *,
    identity: str,
    scopes: tuple[Scope, ...] = (Scope.READ,),
    roles: tuple[Role, ...] | None = None,
    expires_days: int = 90,
    tokens: Tokens,
    clock: WallClock,
) -> command.Result:
    """Make a token for an identity, and show it this once: only a digest of it is kept.

    Who may write the database may make tokens; the event log says who did.

    Parameters
    ----------
    identity : str
        Who it stands for, in small letters: a person, or a program.
    scopes : tuple of Scope
        What it opens: read; operate (start and stop things); approve (sign off, resume trading).
    roles : tuple of Role
        For whom it may sign, with the scope approve; default: both quant and risk.
    expires_days : int
        Days until it expires, 1 to 366.
    """
    given = roles if roles is not None else tuple(Role) if Scope.APPROVE in scopes else ()
    now = clock.now()
    token, stored = issue(identity, scopes, given, days=expires_days, actor=operator(), now=now)
    event = Event(
        key=f"token:{stored.id}:created",
        type=EventType.AUDIT,
        severity="info",
        message=f"token {stored.id} for {identity} ({', '.join(stored.scopes)}) until {stored.expires_at:%F}",
        actor=stored.created_by,
        at=now,
        data={"token": stored.id, "identity": identity, "scopes": stored.scopes, "roles": stored.roles},
    )
    if not tokens.add(stored, event):
        raise DependencyError(f"expected a new id for a token, was {stored.id}, which is taken: try again")
    data = {
        "token": token,
        "id": stored.id,
        "identity": identity,
        "scopes": stored.scopes,
        "roles": stored.roles,
        "expires_at": stored.expires_at,
    }
    text = (
        f"{token}\n"
        f"For {identity}, {', '.join(stored.scopes)}, until {stored.expires_at:%F %R} UTC. "
        "It is not shown again: keep it secret, and give it to commands in the environment variable "
        f"{VARIABLE}."
    )
    return command.Result(data, text)


if __name__ == "__main__":
    raise SystemExit(command.run(create_token))
