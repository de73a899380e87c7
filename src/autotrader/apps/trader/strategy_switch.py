"""Enable and disable strategies."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import TradingRecords


def enable(
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
    return _switch(strategy_id or settings.strategy.strategy_id, True, reason, records, clock)


def disable(
    *,
    reason: str,
    strategy_id: str | None = None,
    settings: Settings,
    records: TradingRecords,
    clock: WallClock,
) -> command.Result:
    """Let a strategy open nothing further; what it holds runs to its end.

    Parameters
    ----------
    reason : str
        Why; kept in the event log.
    strategy_id : str
        Default: the setting.
    """
    return _switch(strategy_id or settings.strategy.strategy_id, False, reason, records, clock)


def _switch(
    strategy_id: str, enabled: bool, reason: str, records: TradingRecords, clock: WallClock
) -> command.Result:
    changed = records.enable_strategy(strategy_id, enabled, actor=operator(), reason=reason, at=clock.now())
    word = "enabled" if enabled else "disabled"
    text = f"strategy {strategy_id} is {word}" + ("" if changed else " already")
    return command.Result({"strategy_id": strategy_id, "enabled": enabled, "changed": changed}, text)
