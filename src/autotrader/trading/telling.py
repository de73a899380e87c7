"""What is told of a step: the signal of each bar, and the hash of all that was decided."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Order
from autotrader.ports.trading import Signal
from autotrader.trading.bars import Bar, Batch
from autotrader.trading.deciding import Decision
from autotrader.trading.forecasting import Forecast


def signal_of(
    bar: Bar,
    ts: datetime,
    forecast: Forecast,
    decision: Decision,
    *,
    account: str,
    strategy_id: str,
    target: float,
) -> Signal:
    """What was predicted at a bar's close, and what was made of it."""
    answered = forecast.prediction
    missing = "" if answered else f"; no prediction: {forecast.reason}"
    return Signal(
        account=account,
        strategy_id=strategy_id,
        instrument=bar.instrument,
        ts=ts,
        version=answered.version if answered else None,
        color=answered.color.value if answered else None,
        epoch=answered.epoch if answered else None,
        score=forecast.score if answered else None,
        confidence=forecast.confidence,
        target=target,
        price=bar.price,
        client_order_id=decision.order.client_order_id if decision.order else None,
        outcome=f"{decision.reason}{missing}",
    )


def chained(
    before: str,
    batch: Batch,
    forecasts: Mapping[InstrumentId, Forecast],
    targets: Mapping[str, object],
    orders: Sequence[Order],
) -> str:
    """The hash of all decisions up to and with these; `before` is that of the step before."""
    told = {
        "before": before,
        "ts": batch.ts.isoformat(),
        "bars": [[str(b.instrument), b.open, b.high, b.low, b.close, repr(b.volume)] for b in batch.bars],
        "scores": {str(i): repr(f.score) for i, f in forecasts.items()},
        "targets": targets,
        "orders": [[o.client_order_id, o.side.value, str(o.quantity), str(o.limit_price)] for o in orders],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
