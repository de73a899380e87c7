"""Strategies that trade here."""

from __future__ import annotations

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.ports.trading import TradingRecords


def strategy_list(*, settings: Settings, records: TradingRecords) -> command.Result:
    """The strategies of this installation: whether enabled, and the accounts that they trade."""
    accounts = records.accounts()
    names = sorted({settings.strategy.strategy_id, *(account.strategy_id for account in accounts)})
    data = [
        {
            "strategy_id": name,
            "enabled": records.strategy_enabled(name),
            "accounts": [a.account for a in accounts if a.strategy_id == name],
        }
        for name in names
    ]
    lines = [
        f"{row['strategy_id']:<32}{'enabled' if row['enabled'] else 'disabled':<10}"
        f"{', '.join(a.account for a in accounts if a.strategy_id == row['strategy_id']) or 'no account'}"
        for row in data
    ]
    return command.Result(data, "\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(command.run(strategy_list))
