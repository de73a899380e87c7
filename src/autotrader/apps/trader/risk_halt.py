"""Halt an account: no order leaves it until somebody resumes it."""

from __future__ import annotations

from autotrader import command
from autotrader.apps.trader.asking import account_of, ask_trader
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.domain.trading import ControlKind
from autotrader.ports.clock import WallClock
from autotrader.ports.events import EventLog
from autotrader.ports.trading import TradingRecords


def risk_halt(
    *,
    reason: str,
    account: str | None = None,
    settings: Settings,
    records: TradingRecords,
    events: EventLog,
    clock: WallClock,
) -> command.Result:
    """Halt an account: open orders are cancelled, and none leaves it until somebody resumes it.

    Positions are kept. Anybody who may run commands here may halt; the operating system's user is
    recorded. Exit code 3 if a trader runs and does not answer. The request stands, as it does where none
    runs.

    Parameters
    ----------
    reason : str
        Why; kept in the event log.
    account : str
        Default: the setting.
    """
    state = account_of(records, settings, account)
    return ask_trader(
        records,
        events,
        clock,
        account=state.account,
        kind=ControlKind.HALT,
        actor=operator(),
        reason=reason,
    )


if __name__ == "__main__":
    raise SystemExit(command.run(risk_halt))
