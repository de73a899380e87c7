"""Let a halted account trade again."""

from __future__ import annotations

from autotrader import command
from autotrader.access.authentication import authenticate, given_token, require_scope
from autotrader.apps.trader.asking import account_of, ask_trader
from autotrader.config.settings import Settings
from autotrader.domain.errors import Refused
from autotrader.domain.trading import ControlKind
from autotrader.ports.clock import WallClock
from autotrader.ports.events import EventLog
from autotrader.ports.tokens import Scope, Tokens
from autotrader.ports.trading import TradingRecords


def risk_resume(
    *,
    reason: str,
    approver: str | None = None,
    account: str | None = None,
    settings: Settings,
    records: TradingRecords,
    events: EventLog,
    tokens: Tokens,
    clock: WallClock,
) -> command.Result:
    """Let a halted account trade again, as the identity of your token.

    The token is taken from the environment variable AUTOTRADER_TOKEN, or asked for at the terminal;
    it needs the scope approve. What a tripped circuit breaker is measured against begins anew at
    the present equity. Exit code 4 if you may not.

    Parameters
    ----------
    reason : str
        Why it is safe; kept with the decision.
    approver : str
        Your name, checked against the token's.
    account : str
        Default: the setting.
    """
    identity = authenticate(tokens, given_token(), now=clock.now())
    require_scope(identity, Scope.APPROVE)
    if approver is not None and approver != identity.name:
        raise Refused(f"expected a token of {approver}, was one of {identity.name}")
    state = account_of(records, settings, account)
    return ask_trader(
        records,
        events,
        clock,
        account=state.account,
        kind=ControlKind.RESUME,
        actor=identity.name,
        reason=reason,
    )


if __name__ == "__main__":
    raise SystemExit(command.run(risk_resume))
