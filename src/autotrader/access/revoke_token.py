"""End a token before its time."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Tokens


def revoke_token(*, id: str, reason: str, tokens: Tokens, clock: WallClock) -> command.Result:
    """End a token at once. Run again, it changes nothing.

    What was signed with it before stays signed.

    Parameters
    ----------
    id : str
        Of the token, as the list shows it.
    reason : str
        Why; kept in the event log.
    """
    if not reason.strip():
        raise ConfigurationError("expected a reason for the revocation, was empty: say why")
    now, actor = clock.now(), operator()
    event = Event(
        key=f"token:{id}:revoked",
        type=EventType.AUDIT,
        severity="warning",
        message=f"token {id} was revoked: {reason.strip()}",
        actor=actor,
        at=now,
        data={"token": id, "reason": reason.strip()},
    )
    revoked = tokens.revoke(id, now, event)
    text = f"token {id} is revoked" + ("" if revoked else " (it was so already: nothing was changed)")
    return command.Result({"id": id, "changed": revoked}, text)


if __name__ == "__main__":
    raise SystemExit(command.run(revoke_token))
