"""Let a strategy trade again."""

from __future__ import annotations

from autotrader import command
from autotrader.apps.trader.strategy_switch import switch
from autotrader.config.settings import Settings
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import TradingRecords


def strategy_enable(
    *,
    reason: str,
    strategy_id: str | None = None,
    settings: Settings,
    records: TradingRecords,
    clock: WallClock,
) -> command.Result:
    """Let a strategy open positions again.

    Parameters
    ----------
    reason : str
        Why; kept in the event log.
    strategy_id : str
        Default: the setting.
    """
    wanted = strategy_id or settings.strategy.strategy_id
    return switch(records, clock, strategy_id=wanted, enabled=True, reason=reason)


if __name__ == "__main__":
    raise SystemExit(command.run(strategy_enable))
