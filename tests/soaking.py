"""A trader that goes through a month of bars in a process of its own, which may be killed at any moment.

`python -m tests.soaking FOLDER DAYS SEED` goes on where the folder's account stands, and prints a line of
JSON when it begins to trade and one when it is done. With `--slowly` it waits a little at each bar, under
a short lease. It exits as a command does. Faults of the venue belong to orders and fills, not to moments:
whatever is killed when, the same ones go wrong.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import psutil
import pytest
import structlog

from autotrader.apps.trader.history import batches_of
from autotrader.config.settings import Settings
from autotrader.db.engine import open_database
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.bars import Interval
from autotrader.domain.errors import AutotraderError
from autotrader.domain.orders import ZERO
from autotrader.features.kernels.layout import LOOKBACK
from autotrader.ports.trading import Page
from autotrader.trading.bars import Batch
from autotrader.trading.trader import Trader
from tests import real_data
from tests.fakes.misbehaving_broker import Fault, MisbehavingBroker, by_name
from tests.trading import BTC, ETH, MINUTE, Scores, World, turning, walk

INSTRUMENTS = (BTC, ETH)
SHARE_OF_FAULTS = 0.05
FAULTS = {
    "submit": (Fault.LOST_ANSWER, Fault.SILENT, Fault.NEVER_ARRIVED, Fault.THROTTLED, Fault.REJECTED),
    "cancel": (Fault.LOST_ANSWER, Fault.SILENT),
    "fill": (Fault.DUPLICATE_FILL,),
}
# Turning over all day costs much: the limits of loss are out of the way, so that it trades to the end.
SETTINGS = {
    "risk": {"max_daily_loss": 0.9, "max_drawdown": 0.9},
    "paper": {"fee_bps": 0.2, "slippage_bps": 0.2, "half_spread_bps": 0.1},
}
_WARM_BARS = 1_500
_ALL = Page(limit=10_000_000)


def bars(days: int, after: datetime | None) -> tuple[list[Batch], datetime]:
    """Recorded minutes where there are any, else a random walk, and the open of the first to be traded.

    Parameters
    ----------
    after : datetime or None
        What lies more than features look back before it is left out.
    """
    try:
        frames = [real_data.bars(i.symbol, days=days + 2) for i in INSTRUMENTS]
    except pytest.skip.Exception:
        made = walk(INSTRUMENTS, days * 1440)
        return made, made[LOOKBACK].ts
    start = real_data.WINDOW_END - timedelta(days=days)
    oldest = (after or start) - (LOOKBACK + 1) * MINUTE
    frame = pl.concat(frames).filter(pl.col("ts") >= oldest)
    return list(batches_of(frame, Interval.M1)), start


def world(folder: Path, days: int, seed: int, *, lease_seconds: float) -> World:
    state = SqlTradingRecords(open_database(f"sqlite:///{folder}/autotrader.db")).state("main")
    made, start = bars(days, state.cursor if state else None)
    script = by_name(seed, SHARE_OF_FAULTS, FAULTS)
    return World(
        folder,
        made,
        settings=Settings(_env_file=None, trading={"lease_seconds": lease_seconds}, **SETTINGS),  # type: ignore[arg-type]
        predictor=Scores(turning),
        start=start,
        wrap=lambda paper: MisbehavingBroker(paper, script),
    )


def digest(folder: Path) -> dict[str, object]:
    """All that a soak left behind, in figures and one hash."""
    records = SqlTradingRecords(open_database(f"sqlite:///{folder}/autotrader.db"))
    state = records.state("main")
    assert state is not None
    orders = [
        (
            o.client_order_id,
            o.status.value,
            str(o.quantity),
            str(o.filled),
            str(o.average_price),
            o.decided_at,
        )
        for o in records.orders("main", _ALL)
    ]
    fills = [
        (str(f.instrument), f.fill_id, str(f.signed), str(f.price), str(f.fee), f.at)
        for f in records.fills("main", _ALL)
    ]
    equity = [
        (p.at, str(p.equity), str(p.cash), p.drawdown, str(p.daily_pnl)) for p in records.equity("main", _ALL)
    ]
    signals = [
        (s.ts, str(s.instrument), s.score, s.target, s.client_order_id, s.outcome)
        for s in records.signals("main", _ALL)
    ]
    positions = [
        (str(i), str(p.quantity), str(p.realised), str(p.fees))
        for i, p in sorted(records.holdings("main").positions.items())
    ]
    left = {
        "orders": sorted(orders),
        "fills": sorted(fills),
        "equity": sorted(equity),
        "signals": sorted(signals, key=str),
        "positions": positions,
        "cash": {name: str(amount) for name, amount in state.cash.items()},
        "decision_hash": state.memory["decision_hash"],
        "state": state.state.value,
    }
    cash = sum((Decimal(amount) for amount in left["cash"].values()), ZERO)  # type: ignore[attr-defined]
    return {
        "hashes": {
            name: hashlib.sha256(json.dumps(rows, default=str).encode()).hexdigest()[:16]
            for name, rows in left.items()
        },
        "counts": {name: len(left[name]) for name in ("orders", "fills", "equity", "signals")},  # type: ignore[arg-type]
        "contiguous": _is_contiguous([row[0] for row in sorted(equity)]),
        "every bar has its signals": len(signals) == len(INSTRUMENTS) * len(equity),
        "state": state.state.value,
        "status": state.status.value,
        "cash": str(cash),
        "recoveries": len(records.recoveries("main", _ALL)),
    }


def _is_contiguous(at: list[datetime]) -> bool:
    return all(later - earlier == MINUTE for earlier, later in pairwise(at))


def main(folder: Path, days: int, seed: int, *, slowly: bool) -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    process, began = psutil.Process(), time.monotonic()
    traded = {"bars": 0, "warm": 0}

    def watch(trader: Trader) -> None:
        trader.take_signals()  # as whoever shows them does
        trader.take_latencies()
        if traded["bars"] == 0:
            _tell({"trading": round(time.monotonic() - began, 3)})
        traded["bars"] += 1
        if traded["bars"] == _WARM_BARS:
            traded["warm"] = process.memory_info().rss

    here = world(folder, days, seed, lease_seconds=4.0 if slowly else 15.0)
    begun = time.monotonic()
    try:
        here.run(watch=watch, stopped_by=signal.SIGTERM, before_each=lambda _: time.sleep(0.02 * slowly))
    except AutotraderError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    seconds = time.monotonic() - begun
    _tell(
        {
            "bars": traded["bars"],
            "seconds": round(seconds, 2),
            "warm_mb": round(traded["warm"] / 2**20, 1),
            "end_mb": round(process.memory_info().rss / 2**20, 1),
        }
    )
    return 0


def _tell(figures: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), slowly="--slowly" in sys.argv[4:])
    )
