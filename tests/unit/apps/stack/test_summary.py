"""What quickstart says at its end."""

from __future__ import annotations

from typing import Any

import pytest

from autotrader.apps.stack.summary import QuickstartSummary, render
from autotrader.config.settings import Settings

IDLE = "4,320 predictions scored -0.082 to +0.052; a position wants a score beyond 0.110"
TRADED: dict[str, Any] = {
    "account": "replay", "source": "SIMULATED", "state": "active", "reasons": [], "bars": 1440, "orders": 0,
    "fills": 0, "trades": 0, "pnl": "0", "equity": "100000", "currency": "USD", "sharpe": None,
    "max_drawdown": 0.0, "win_rate": None, "curve": "▁▁", "no_order_because": IDLE,
}  # fmt: skip


def said(signal: float = 0.0, **trading: Any) -> str:
    summary = QuickstartSummary(
        source="SIMULATED", instruments=[], left_out={}, rows={"binance:BTCUSDT": 1440},
        quality={"severity": "healthy", "reason": "whole"}, features={"set": "a", "count": 42, "rows": 1440},
        models_tried=[], model_name="autotrader-strategy", model_version=1, semver="v1.0.0", gates=[],
        decision="promoted", window="", reason="", report=None, deployment=None,
        health_check={"health": "healthy", "reason": "", "report": ""}, trading=TRADED | trading, seconds={},
    )  # fmt: skip
    settings = Settings(_env_file=None, simulation={"planted_signal": signal})  # type: ignore[call-arg]
    return render(summary, settings, keep_running=False)


def test_a_day_without_an_order_says_why_and_where_there_is_something_to_find() -> None:
    assert f"  no order: {IDLE}\n" in said()
    assert "AUTOTRADER_SIMULATION__PLANTED_SIGNAL=0.1 make quickstart" in said()


@pytest.mark.parametrize(
    ("signal", "trading"), [(0.1, {}), (0.0, {"source": "recorded"})], ids=["planted", "real"]
)
def test_who_has_something_to_find_is_not_told_where(signal: float, trading: dict[str, Any]) -> None:
    assert IDLE in said(signal, **trading)
    assert "PLANTED_SIGNAL" not in said(signal, **trading)


def test_a_day_with_orders_explains_nothing() -> None:
    assert "no order" not in said(orders=3, fills=3, trades=1, no_order_because="")
