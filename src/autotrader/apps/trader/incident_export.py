"""Put all that a window of decisions came of into one file."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from autotrader import __version__, command
from autotrader.adapters.releases import MODEL_FILE, prepare_release
from autotrader.apps.trader.asking import account_of
from autotrader.apps.trader.history import COLUMNS, batches_of, look_back, past_in
from autotrader.apps.trader.incident_bundle import Incident, write_bundle
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.bars import Interval
from autotrader.domain.errors import ConfigurationError, NotFound
from autotrader.features.definitions import BALANCED
from autotrader.features.live import LiveFeatures
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.holds import Holds
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.trading import AccountState, Page, Signal, TradingRecords
from autotrader.trading.checkpoint import Checkpoint

T = TypeVar("T")

_PAGE = 5_000
_A_DAY, _AN_INSTANT = timedelta(days=1), timedelta(microseconds=1)


def incident_export(
    *,
    start: datetime,
    end: datetime,
    out: Path,
    account: str | None = None,
    settings: Settings,
    records: TradingRecords,
    events: EventLog,
    lake: Lake,
    holds: Holds,
    registry: ModelRegistry,
    clock: WallClock,
) -> command.Result:
    """Put all that a window of decisions came of into one file, to replay it anywhere.

    It begins at the newest checkpoint at or before the start (one is made at the first step of a
    trading day, of a process, and after every intervention), and ends where the hash of all
    decisions is known next. No secret is in it; prices, orders and the models are.

    Parameters
    ----------
    start, end : datetime
        Bar opens in [start, end), UTC.
    out : Path
        The file to write, a zip.
    account : str
        Default: the setting.
    """
    if start >= end:
        raise ConfigurationError(f"expected a start before the end, was {start} and {end}")
    state = account_of(records, settings, account)
    incident = _gather(state, start, end, records, events, BarStore(lake, holds), now=clock.now())
    incident = replace(incident, models=_models(incident, registry, settings.home / "releases"))
    write_bundle(incident, out)
    told = {
        "file": str(out),
        "bytes": out.stat().st_size,
        "account": incident.account,
        "start": incident.first.ts,
        "until": incident.until,
        "signals": len(incident.signals),
        "orders": len(incident.orders),
        "fills": len(incident.fills),
        "events": len(incident.events),
        "checkpoints": len(incident.checkpoints),
        "models": sorted(incident.models),
        "decision_hash": incident.decision_hash,
    }
    return command.Result(told, _text(incident, out))


def _text(incident: Incident, out: Path) -> str:
    return "\n".join(
        [
            f"{out}: account {incident.account}, {incident.first.ts:%Y-%m-%d %H:%M} to "
            f"{incident.until:%Y-%m-%d %H:%M} UTC, {out.stat().st_size / 1e6:.1f} MB",
            f"  {len(incident.signals):,} signals, {len(incident.orders):,} orders, "
            f"{len(incident.fills):,} fills, {len(incident.checkpoints)} checkpoints, "
            f"models {', '.join(sorted(incident.models)) or 'none'}",
            f"  decisions {incident.decision_hash[:16]}; replay it with "
            f"`autotrader incident replay --file {out}`",
        ]
    )


# ------------------------------------------------------------------------------------ gathering


def _gather(
    state: AccountState,
    start: datetime,
    end: datetime,
    records: TradingRecords,
    events: EventLog,
    store: BarStore,
    *,
    now: datetime,
) -> Incident:
    account = state.account
    known = sorted(_checkpoints(events, account), key=lambda checkpoint: checkpoint.ts)
    first = max((c for c in known if c.ts <= start), key=lambda c: c.ts, default=None)
    if first is None:
        oldest = f"the first is of {known[0].ts:%Y-%m-%d %H:%M}" if known else "there is none"
        raise NotFound(f"expected a checkpoint of account {account} at or before {start}: {oldest}")
    interval = first.interval
    # Whose hash of all decisions before it is recorded: the next checkpoint, or the account as it is.
    after = next((c for c in known if c.ts >= end), None)
    if after is not None:
        until, decision_hash = after.ts, after.decision_hash
    else:
        until = first.ts if state.cursor is None else state.cursor + interval.delta
        decision_hash = str(state.memory.get("decision_hash", ""))
    if until <= first.ts:
        raise NotFound(f"expected decisions of account {account} from {start} on, were none")
    decided = Page(start=first.ts, end=until)
    signals = sorted(_all(records.signals, account, decided), key=lambda s: (s.ts, s.instrument))
    bars = _bars(store, first, interval, until, signals)
    orders = _all(records.orders, account, Page(start=first.first_close - _A_DAY, end=until + _AN_INSTANT))
    return Incident(
        account=account,
        start=start,
        end=end,
        until=until,
        decision_hash=decision_hash,
        exported_at=now,
        checkpoints=tuple(c for c in known if first.ts <= c.ts < until),
        bars=bars,
        features=_features(bars, first, interval),
        signals=tuple(signals),
        orders=tuple(sorted(orders, key=lambda order: (order.decided_at, order.client_order_id))),
        fills=tuple(reversed(_all(records.fills, account, Page(start=first.ts - _A_DAY, end=until)))),
        trades=tuple(reversed(_all(records.trades, account, Page(start=first.first_close, end=until)))),
        equity=tuple(
            reversed(_all(records.equity, account, Page(start=first.first_close, end=until + _AN_INSTANT)))
        ),
        events=tuple(reversed(list(_events(events, first.at, now if after is None else after.at)))),
        models={},
        software={
            "autotrader": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: version(name) for name in ("numpy", "numba", "onnxruntime")},
        },
    )


def _all(listing: Callable[[str, Page], Sequence[T]], account: str, page: Page) -> list[T]:
    """All of a window: nothing new can come into one that is over."""
    found: list[T] = []
    while True:
        some = listing(account, replace(page, limit=_PAGE, offset=len(found)))
        found.extend(some)
        if len(some) < _PAGE:
            return found


def _checkpoints(events: EventLog, account: str) -> Iterator[Checkpoint]:
    for event in _events(events, None, None, EventType.AUDIT):
        checkpoint = Checkpoint.of(event, account)
        if checkpoint is not None:
            yield checkpoint


def _events(
    events: EventLog, start: datetime | None, end: datetime | None, kind: EventType | None = None
) -> Iterator[Event]:
    """Newest first."""
    seen = 0
    while True:
        some = events.recent(type=kind, start=start, end=end, limit=_PAGE, offset=seen)
        yield from some
        seen += len(some)
        if len(some) < _PAGE:
            return


def _bars(
    store: BarStore, first: Checkpoint, interval: Interval, until: datetime, signals: Sequence[Signal]
) -> pl.DataFrame:
    """What features look back on, and from the checkpoint on the bars that the trader dealt with."""
    start = look_back(interval, first.ts)
    frame = store.read(first.instruments, interval=interval, start=start, end=until, columns=COLUMNS)
    dealt = pl.DataFrame(
        [(s.instrument.venue.value, s.instrument.symbol, s.ts) for s in signals],
        schema={name: frame.schema[name] for name in ("venue", "instrument", "ts")},
        orient="row",
    )
    keys = ["venue", "instrument", "ts"]
    missing = dealt.join(frame, on=keys, how="anti").sort("ts")
    if missing.height:
        venue, symbol, ts = missing.row(0)
        raise NotFound(
            f"expected {missing.height} bars in the lake that were traded on, were none, the first "
            f"{venue}:{symbol} of {ts:%Y-%m-%d %H:%M}: run data_pipeline, then export again"
        )
    then = frame.filter(pl.col("ts") >= first.ts).join(dealt, on=keys, how="semi")
    return pl.concat([frame.filter(pl.col("ts") < first.ts), then]).sort("venue", "instrument", "ts")


def _features(bars: pl.DataFrame, first: Checkpoint, interval: Interval) -> pl.DataFrame:
    """Of the bars that were dealt with, by the path that the trader takes."""
    live = {instrument: LiveFeatures(interval) for instrument in first.instruments}
    for instrument, past in past_in(bars, first.instruments, first.ts).items():
        for at, column in zip(past.ts_us.tolist(), past.columns.T.tolist(), strict=True):
            live[instrument].append(at, *column)
    keys, rows = [], []
    for batch in batches_of(bars.filter(pl.col("ts") >= first.ts), interval):
        ts_us = round(batch.ts.timestamp() * 1_000_000)
        for bar in batch.bars:
            values = (bar.high, bar.low, bar.close, bar.volume, bar.taker_buy)
            rows.append(live[bar.instrument].update(ts_us, *values))
            keys.append((bar.instrument.venue.value, bar.instrument.symbol, batch.ts.astimezone(UTC)))
    columns = np.array(rows, np.float32).reshape(len(rows), len(BALANCED.names))
    return pl.concat(
        [
            pl.DataFrame(
                keys,
                schema={name: bars.schema[name] for name in ("venue", "instrument", "ts")},
                orient="row",
            ),
            pl.DataFrame(columns, schema=list(BALANCED.names)),
        ],
        how="horizontal",
    )


def _models(incident: Incident, registry: ModelRegistry, folder: Path) -> dict[str, bytes]:
    """Of every version that answered; each file's digest is checked against the registry."""
    name = incident.first.state.strategy_id
    versions = sorted({signal.version for signal in incident.signals if signal.version is not None})
    contents = {}
    for semver in versions:
        release = prepare_release(registry, registry.get(name, semver), folder)
        contents[semver] = (Path(release.folder) / MODEL_FILE).read_bytes()
    return contents


if __name__ == "__main__":
    raise SystemExit(command.run(incident_export))
