"""Where a replay first departs from what was recorded, and what lies before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.apps.trader.incident_bundle import Incident
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Order
from autotrader.domain.trading import Cause
from autotrader.features.definitions import BALANCED
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import Signal
from autotrader.trading.bars import Batch
from autotrader.trading.checkpoint import Checkpoint
from autotrader.trading.trader import TOO_LATE

# What an account brings about by its own trading; the rest is put in force from outside.
OWN_CAUSES = frozenset({Cause.DAILY_LOSS, Cause.DRAWDOWN, Cause.LOSSES})


class What(StrEnum):
    """In the order in which one brings about the next."""

    PRICE = "price"
    SCORE = "score"
    TARGET = "target"
    ORDER = "order"
    HASH = "hash"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first bar of which something else was decided.

    Attributes
    ----------
    ts : datetime
        Its open. Of a HASH, of the first bars of the stretch in which it lies.
    instrument : str or None
    recorded, replayed : str
    features : tuple of str
        Where scores differ: features that are not those of the bundle.
    interventions : tuple of str
        What people and outages did to the account before it, newest last.
    """

    ts: datetime
    what: What
    instrument: str | None
    recorded: str
    replayed: str
    features: tuple[str, ...] = ()
    interventions: tuple[str, ...] = ()

    def to_text(self) -> str:
        """For a terminal."""
        where = f" of {self.instrument}" if self.instrument else ""
        lines = [
            f"  first difference at the bar of {self.ts:%Y-%m-%d %H:%M}: {self.what}{where} was "
            f"{self.recorded}, is {self.replayed}"
        ]
        if self.features:
            lines.append(f"  its features are others than at the export: {', '.join(self.features)}")
        if self.interventions:
            lines.append("  from outside, before it:")
            lines += [f"    {told}" for told in self.interventions[-5:]]
        return "\n".join(lines)


class Recording:
    """What was decided, bar by bar."""

    def __init__(self, incident: Incident) -> None:
        self._signals: dict[datetime, dict[InstrumentId, Signal]] = defaultdict(dict)
        for signal in incident.signals:
            self._signals[signal.ts][signal.instrument] = signal
        self._orders: dict[datetime, list[Order]] = defaultdict(list)
        for order in incident.orders:
            self._orders[order.decided_at].append(order)
        self._incident = incident

    def signals(self, batch: Batch) -> Mapping[InstrumentId, Signal]:
        return self._signals.get(batch.ts, {})

    def was_late(self, batch: Batch) -> bool:
        """Whether the bars came too late to trade on."""
        return any(signal.outcome.startswith(TOO_LATE) for signal in self.signals(batch).values())

    def compare(
        self,
        batch: Batch,
        signals: Iterable[Signal],
        orders: Iterable[Order],
        rows: Mapping[str, NDArray[np.float32]],
    ) -> Difference | None:
        """The first thing that was decided otherwise on these bars.

        Parameters
        ----------
        signals, orders
            Of the replay, on these bars.
        rows : Mapping
            Features that it asked with, by `venue:symbol`.
        """
        found: list[Difference] = []
        recorded = self.signals(batch)
        for signal in signals:
            then, name = recorded[signal.instrument], str(signal.instrument)
            for what, was, now in (
                (What.PRICE, then.price, signal.price),
                (What.SCORE, _answer(then), _answer(signal)),
                (What.TARGET, then.target, signal.target),
            ):
                if was != now:
                    found.append(Difference(batch.ts, what, name, str(was), str(now)))
        was_ordered, is_ordered = self._orders.get(batch.closed_at, []), list(orders)
        if _told(was_ordered) != _told(is_ordered):
            found.append(Difference(batch.ts, What.ORDER, None, _text(was_ordered), _text(is_ordered)))
        if not found:
            return None
        first = min(found, key=lambda difference: list(What).index(difference.what))
        features = self._other_features(first, rows) if first.what is What.SCORE else ()
        return Difference(
            first.ts,
            first.what,
            first.instrument,
            first.recorded,
            first.replayed,
            features,
            self.interventions(batch.closed_at),
        )

    def interventions(self, until: datetime) -> tuple[str, ...]:
        """What changed the account from outside before the bars that closed then were decided on.

        Events are of wall time, bars of market time: an order recorded at or after those bars, or
        the next checkpoint, says what the time was on the wall at the latest.
        """
        known = [o.recorded_at for o in self._incident.orders if o.decided_at >= until]
        known += [c.at for c in self._incident.checkpoints if c.ts >= until]
        latest = min(known, default=None)
        return tuple(
            f"{event.at:%Y-%m-%d %H:%M:%S} {event.message}"
            for event in self._incident.events
            if (latest is None or event.at <= latest) and self._is_from_outside(event)
        )

    def _is_from_outside(self, event: Event) -> bool:
        state = self._incident.first.state
        text = f"{event.key} {event.message}"
        if state.account not in text and state.strategy_id not in text:
            return False
        if event.type is EventType.RISK:
            return event.data.get("cause") not in OWN_CAUSES
        if event.type is EventType.AUDIT:
            return Checkpoint.of(event, state.account) is None
        return event.type is EventType.RECOVERY and event.key.startswith("recovery-")

    def _other_features(
        self, difference: Difference, rows: Mapping[str, NDArray[np.float32]]
    ) -> tuple[str, ...]:
        venue, _, symbol = str(difference.instrument).partition(":")
        kept = self._incident.features.filter(
            pl.col("venue") == venue, pl.col("instrument") == symbol, pl.col("ts") == difference.ts
        )
        row = rows.get(str(difference.instrument))
        if row is None or not kept.height:
            return ()
        were = kept.select(BALANCED.names).to_numpy()[0]
        return tuple(
            name
            for name, was, now in zip(BALANCED.names, were, row, strict=True)
            if was != now and not (np.isnan(was) and np.isnan(now))
        )


def _answer(signal: Signal) -> str:
    return "no answer" if signal.version is None else repr(signal.score)


def _told(orders: Sequence[Order]) -> list[tuple[object, ...]]:
    """What the hash tells of orders, in its order."""
    return sorted((o.client_order_id, o.side, o.quantity, o.limit_price) for o in orders)


def _text(orders: Sequence[Order]) -> str:
    told = [
        f"{o.side.value} {o.quantity} {o.instrument}" + (f" at {o.limit_price}" if o.limit_price else "")
        for o in sorted(orders, key=lambda order: order.instrument)
    ]
    return ", ".join(told) or "none"
