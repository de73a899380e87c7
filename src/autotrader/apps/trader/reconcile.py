"""Compare an account with its venue now."""

from __future__ import annotations

from enum import StrEnum

from autotrader import command
from autotrader.access.authentication import authenticate, given_token, require_scope
from autotrader.apps.trader.asking import account_of, ask_trader
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.domain.errors import ExitCode
from autotrader.domain.trading import ControlKind, RecoveryKind
from autotrader.ports.clock import WallClock
from autotrader.ports.events import EventLog
from autotrader.ports.tokens import Scope, Tokens
from autotrader.ports.trading import Page, Recovery, TradingRecords


class Then(StrEnum):
    """What to do with the differences that are found."""

    TELL = "tell"
    ACKNOWLEDGE = "acknowledge"
    ADOPT = "adopt"


_KINDS = {
    Then.TELL: ControlKind.RECONCILE,
    Then.ACKNOWLEDGE: ControlKind.ACKNOWLEDGE,
    Then.ADOPT: ControlKind.ADOPT,
}


def reconcile(
    *,
    then: Then = Then.TELL,
    reason: str = "asked for",
    account: str | None = None,
    settings: Settings,
    records: TradingRecords,
    events: EventLog,
    tokens: Tokens,
    clock: WallClock,
) -> command.Result:
    """Compare an account's positions, cash and orders with its venue's, now. Exit code 1 if they differ.

    Fills that the venue knows and we do not are taken in. Other differences are told and keep the
    account from opening positions; above the limit it stays halted until somebody acknowledges
    them. To acknowledge or adopt needs a token with the scope approve, as `risk resume` does.

    Parameters
    ----------
    then : Then
        acknowledge: I know of them, and look after them at the venue. adopt: the venue is right,
        take over its positions and cash; neither profit nor loss comes of it.
    reason : str
        Why; needed to acknowledge or adopt.
    account : str
        Default: the setting.
    """
    actor = operator()
    if then is not Then.TELL:
        identity = authenticate(tokens, given_token(), now=clock.now())
        require_scope(identity, Scope.APPROVE)
        actor = identity.name
    state = account_of(records, settings, account)
    asked_at = clock.now()
    answer = ask_trader(
        records, events, clock, account=state.account, kind=_KINDS[then], actor=actor, reason=reason
    )
    if then is not Then.TELL or answer.exit_code is not ExitCode.DONE:
        return answer
    # Not what a trader found that reconciles by itself, at its start or in between.
    since = records.recoveries(state.account, Page(start=asked_at))
    found = next((each for each in since if each.kind is RecoveryKind.MANUAL), None)
    return answer if found is None or found.resolved else _differing(answer, found)


def _differing(answer: command.Result, found: Recovery) -> command.Result:
    """The answer with what differs, which a person has to settle."""
    assert isinstance(answer.data, dict)  # noqa: S101 - what `ask_trader` makes
    lines = [
        f"  {each.kind.value} {each.instrument}: ours {each.ours.normalize():f}, the venue's "
        f"{each.theirs.normalize():f}, worth {each.value:,.2f}{', above the limit' if each.is_major else ''}"
        for each in found.discrepancies
    ]
    text = "\n".join([f"differs from the venue in {len(lines)}:", *lines])
    return command.Result(answer.data | {"discrepancies": found.discrepancies}, text, ExitCode.FAILED)


if __name__ == "__main__":
    raise SystemExit(command.run(reconcile))
