"""Whether a strategy may open positions: changed by a person, told in the event log."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import TradingRecords


def switch(
    records: TradingRecords, clock: WallClock, *, strategy_id: str, enabled: bool, reason: str
) -> command.Result:
    """Enable or disable a strategy, as the operating system's user."""
    changed = records.enable_strategy(strategy_id, enabled, actor=operator(), reason=reason, at=clock.now())
    word = "enabled" if enabled else "disabled"
    text = f"strategy {strategy_id} is {word}" + ("" if changed else " already")
    return command.Result({"strategy_id": strategy_id, "enabled": enabled, "changed": changed}, text)
