"""What the account earned, what it holds, and whether it may trade."""

from __future__ import annotations

from autotrader.apps.api.accounts import account_pnl, account_risk
from autotrader.apps.api.reading import account_positions
from autotrader.apps.console.panel import Filled, Missing, Panel
from autotrader.apps.console.sources import Sources

DAYS = 30
POINTS = 240


def read(sources: Sources) -> Filled | Missing:
    """The answers of `/api/pnl`, `/api/positions` and `/api/risk`.

    Of the account of the settings; where no trader has run for it, of the one that was heard of last.
    """
    own, records = sources.settings.trading.account, sources.records()
    accounts = {state.account: state for state in records.accounts()}
    if not accounts:
        return Missing("No trader has run yet.", "autotrader trade")
    state = accounts.get(own) or max(accounts.values(), key=lambda state: state.heartbeat_at)
    account = state.account
    pnl = account_pnl(
        records,
        sources.figures(),
        account,
        same_as_base=sources.settings.trading.same_as_base,
        days=DAYS,
        points=POINTS,
    )
    return Filled(
        {
            "pnl": pnl,
            "held": account_positions(records, account),
            "risk": account_risk(records, account, sources.clock.now()),
            "broker": state.venue,
            "own": own,
            "others": sorted(set(accounts) - {account}),
            "patience": 2 * sources.settings.trading.heartbeat_seconds,
        }
    )


ACCOUNT = Panel(
    "account",
    "Trading account",
    read,
    dags=("daily_summary", "close_of_market", "weekly_report"),
    span="wide",
)
