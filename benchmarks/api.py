"""The HTTP API under load: `python benchmarks/api.py`.

A process of its own serves a SQLite database. Beside it a trader's records are written, ten
instruments a second, ten clients listen to the stream, and requests arrive at a fixed rate over all
reads, whether earlier ones are answered or not: a time is measured from when the request was due, so
that a server that stands still is not forgiven. Bound: p95 below 100 ms, no error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import psutil
from timing import emit
from websockets.asyncio.client import connect

from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side, client_order_id
from autotrader.domain.positions import Holdings
from autotrader.domain.trading import RunStatus
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Change, EquityPoint, Signal

RATE = 100
CLIENTS = 10
INSTRUMENTS = tuple(InstrumentId(Venue.BINANCE, f"I{k}USDT") for k in range(10))
START = datetime(2024, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ACCOUNT = "main"
HISTORY_BARS = 24 * 60
GOAL_P95_MS = 100.0
PATHS = (
    "/health",
    "/api/health/detailed",
    "/api/positions",
    "/api/pnl",
    "/api/orders",
    "/api/trades",
    "/api/signals",
    "/api/events",
    "/api/events/summary",
    "/api/alerts",
    "/api/risk",
    "/api/deployments",
    "/metrics",
)


class Writer:
    """Writes what a trader writes: at each bar signals, equity, and a fill for one instrument in five."""

    def __init__(self, url: str) -> None:
        self._engine = open_database(url)
        self._records, self._events = SqlTradingRecords(self._engine), SqlEventLog(self._engine)
        now = datetime.now(UTC)
        lease = self._records.acquire(ACCOUNT, "benchmark", now=now, seconds=3600)
        assert lease is not None
        self._lease = lease
        cash = Decimal(1_000_000)
        self._holdings = Holdings(ACCOUNT, {"USDT": cash})
        self._bars = 0
        self._state = AccountState(
            account=ACCOUNT,
            strategy_id="autotrader-strategy",
            venue="paper",
            status=RunStatus.RUNNING,
            heartbeat_at=now,
            started_at=now,
            owner="benchmark",
            source="SIMULATED",
            base_currency="USD",
            initial_equity=cash,
            peak_equity=cash,
            day_start_equity=cash,
            equity=cash,
        )

    def bar(self) -> None:
        """One bar of every instrument: one transaction."""
        ts = START + self._bars * MINUTE
        fills, orders, trades, before = [], [], [], self._holdings
        for k, instrument in enumerate(INSTRUMENTS):
            if (self._bars + k) % 5 == 0:
                side = Side.BUY if (self._bars + k) % 10 else Side.SELL
                order, fill = _filled(instrument, side, ts, self._price(k))
                self._holdings, trade = self._holdings.after(fill, currency="USDT")
                orders.append(order)
                fills.append(fill)
                trades += [trade] if trade else []
        held = self._holdings.positions
        value = sum(
            (held[i].value(self._price(k)) for k, i in enumerate(INSTRUMENTS) if i in held), Decimal(0)
        )
        equity = self._holdings.cash["USDT"] + value
        change = Change(
            state=_replaced(self._state, self._holdings, equity, ts),
            orders=tuple(orders),
            fills=tuple(fills),
            trades=tuple(trades),
            positions=tuple(p for i, p in held.items() if p != before.positions.get(i)),
            equity=(EquityPoint(ACCOUNT, ts + MINUTE, equity, equity - value, 0.0, Decimal(0)),),
            signals=tuple(self._signal(k, i, ts) for k, i in enumerate(INSTRUMENTS)),
            events=(
                Event(
                    f"bar-{self._bars}",
                    EventType.ALERT if self._bars % 10 == 0 else EventType.TRADE,
                    "info",
                    f"bar {self._bars}",
                    "benchmark",
                    datetime.now(UTC),
                ),
            ),
        )
        self._records.write(self._lease, change)
        assert change.state is not None
        self._state = _revised(change.state)
        self._bars += 1

    def keep(self, stop: threading.Event) -> None:
        """A bar a second."""
        while not stop.wait(1.0):
            self.bar()

    def close(self) -> None:
        self._engine.dispose()

    def _price(self, k: int) -> Decimal:
        return Decimal(100 + k) + Decimal(self._bars % 50) / 10

    def _signal(self, k: int, instrument: InstrumentId, ts: datetime) -> Signal:
        return Signal(
            account=ACCOUNT,
            strategy_id="autotrader-strategy",
            instrument=instrument,
            ts=ts,
            version="v1.0.0",
            color="blue",
            epoch=1,
            score=0.1,
            confidence=0.5,
            target=0.1,
            price=self._price(k),
            client_order_id=None,
            outcome="the position is as it should be",
        )


def _replaced(state: AccountState, holdings: Holdings, equity: Decimal, ts: datetime) -> AccountState:
    return replace(state, cash=holdings.cash, equity=equity, cursor=ts, heartbeat_at=datetime.now(UTC))


def _revised(state: AccountState) -> AccountState:
    return replace(state, revision=state.revision + 1)


def _filled(instrument: InstrumentId, side: Side, ts: datetime, price: Decimal) -> tuple[Order, Fill]:
    order = Order(
        account=ACCOUNT,
        client_order_id=client_order_id(ACCOUNT, "s", instrument, ts, "target"),
        strategy_id="autotrader-strategy",
        instrument=instrument,
        side=side,
        quantity=Decimal("1.5"),
        type=OrderType.MARKET,
        limit_price=None,
        reference_price=price,
        reduces=False,
        decided_at=ts,
        valid_until=ts + MINUTE,
        recorded_at=ts,
        reason="a target of 0.1",
        status=OrderStatus.FILLED,
        filled=Decimal("1.5"),
        average_price=price,
    )
    fill = Fill(
        account=ACCOUNT,
        fill_id=order.client_order_id,
        client_order_id=order.client_order_id,
        venue_order_id=None,
        instrument=instrument,
        side=side,
        quantity=order.quantity,
        price=price,
        fee=Decimal("0.05"),
        fee_currency="USDT",
        at=ts,
    )
    return order, fill


@dataclass
class Measured:
    """What came of the requests and of the streams."""

    seconds: list[float] = field(default_factory=list)
    by_path: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    dropped: int = 0


async def ask(client: httpx.AsyncClient, path: str, due: float, measured: Measured) -> None:
    try:
        answer = await client.get(path)
    except httpx.HTTPError as error:
        measured.errors[type(error).__name__] += 1
        return
    taken = time.perf_counter() - due
    if answer.status_code != httpx.codes.OK:
        measured.errors[f"HTTP {answer.status_code} {path}"] += 1
    measured.seconds.append(taken)
    measured.by_path.setdefault(path, []).append(taken)


async def listen(url: str, measured: Measured) -> None:
    async with connect(f"{url.replace('http', 'ws', 1)}/api/stream", proxy=None) as stream:
        async for _ in stream:
            measured.messages += 1
    measured.dropped += 1  # it is ended by us, never by the server


async def load(url: str, seconds: float, measured: Measured) -> None:
    """Requests at a fixed rate, beside the streams."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=url, limits=limits, trust_env=False, timeout=10) as client:
        listeners = [asyncio.create_task(listen(url, measured)) for _ in range(CLIENTS)]
        for path in PATHS:  # the first of each compiles its queries
            await client.get(path)
        begin, requests = time.perf_counter(), []
        for k, path in zip(range(round(seconds * RATE)), itertools.cycle(PATHS), strict=False):
            due = begin + k / RATE
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            requests.append(asyncio.create_task(ask(client, path, due, measured)))
        await asyncio.gather(*requests)
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


@contextlib.contextmanager
def served(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    environment = {**os.environ, "AUTOTRADER_HOME": str(home), "AUTOTRADER_LOG__FORMAT": "json"}
    with (home / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "autotrader.apps.api", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (home / "api.log").read_text()
        yield json.loads(line)["url"], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds: float = parser.parse_args().seconds
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(f"sqlite:///{folder}/autotrader.db")
        for _ in range(HISTORY_BARS):
            writer.bar()
        with served(Path(folder)) as (url, process):
            before = process.cpu_times()
            stop = threading.Event()
            writing = threading.Thread(target=writer.keep, args=(stop,))
            writing.start()
            try:
                asyncio.run(load(url, seconds, measured))
            finally:
                stop.set()
                writing.join()
                writer.close()
            after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    cuts = statistics.quantiles(measured.seconds, n=100)
    emit(
        {
            "name": "api.load",
            "seconds": seconds,
            "requests": len(measured.seconds),
            "p50_ms": round(cuts[49] * 1000, 2),
            "p95_ms": round(cuts[94] * 1000, 2),
            "p99_ms": round(cuts[98] * 1000, 2),
            "goal_p95_ms": GOAL_P95_MS,
            # All that the server does, streams and health checks included.
            "cpu_ms_a_request": round(1000 * used / len(measured.seconds), 2),
            "errors": sum(measured.errors.values()),
            "which_errors": dict(measured.errors),
            "stream_clients": CLIENTS,
            "stream_messages": measured.messages,
            "streams_ended": measured.dropped,
            "p95_ms_by_path": {
                path: round(statistics.quantiles(taken, n=20)[18] * 1000, 1)
                for path, taken in sorted(measured.by_path.items())
                if len(taken) > 1
            },
            "load_average": round(os.getloadavg()[0], 1),
        }
    )
    raise SystemExit(bool(measured.errors) or cuts[94] * 1000 >= GOAL_P95_MS or measured.dropped > 0)


if __name__ == "__main__":
    main()
