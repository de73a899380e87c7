"""Show which tokens there are."""

from __future__ import annotations

from datetime import datetime

from autotrader import command
from autotrader.ports.clock import WallClock
from autotrader.ports.tokens import StoredToken, Tokens


def list_tokens(*, tokens: Tokens, clock: WallClock) -> command.Result:
    """Show which tokens there are, for whom, until when, and which have ended; never a token itself."""
    now = clock.now()
    rows = [
        {
            "id": token.id,
            "identity": token.identity,
            "state": _state(token, now),
            "scopes": token.scopes,
            "roles": token.roles,
            "created_by": token.created_by,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
        }
        for token in tokens.all()
    ]
    lines = [
        f"{token.id}  {token.identity:<24}{_state(token, now):<10}until {token.expires_at:%F %R}  "
        f"{', '.join([*token.scopes, *token.roles])}"
        for token in tokens.all()
    ]
    return command.Result({"tokens": rows}, "\n".join(lines) or "no tokens")


def _state(token: StoredToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "in force" if now < token.expires_at else "expired"


if __name__ == "__main__":
    raise SystemExit(command.run(list_tokens))
