"""The tables of the trader.

Rows that are written each minute are kept in the order of time, so that a write touches few pages;
all but orders, whose key is a hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from autotrader.db.columns import METADATA, Exact, Instrument, Json, JsonOf, Key, Utc, Word, required
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import OrderStatus, OrderType, Side
from autotrader.domain.trading import (
    Cause,
    ControlKind,
    DiscrepancyKind,
    RecoveryKind,
    RunStatus,
    TradingState,
)
from autotrader.ports.trading import Discrepancy, Restriction


def _cash(found: Mapping[str, str]) -> dict[str, Decimal]:
    return {currency: Decimal(amount) for currency, amount in found.items()}


def _restrictions(found: list[dict[str, Any]]) -> tuple[Restriction, ...]:
    return tuple(
        Restriction(
            **restriction
            | {
                "cause": Cause(restriction["cause"]),
                "state": TradingState(restriction["state"]),
                "since": datetime.fromisoformat(restriction["since"]),
                "until": datetime.fromisoformat(restriction["until"]) if restriction["until"] else None,
            }
        )
        for restriction in found
    )


def _instrument(venue: str, symbol: str) -> InstrumentId:
    return InstrumentId(Venue(venue), symbol)


def _discrepancies(found: list[dict[str, Any]]) -> tuple[Discrepancy, ...]:
    return tuple(
        Discrepancy(
            **discrepancy
            | {
                "kind": DiscrepancyKind(discrepancy["kind"]),
                "instrument": InstrumentId(
                    Venue(discrepancy["instrument"]["venue"]), discrepancy["instrument"]["symbol"]
                ),
                **{name: Decimal(discrepancy[name]) for name in ("ours", "theirs", "value")},
            }
        )
        for discrepancy in found
    )


# The right to trade an account. `released` ends it before its time, whatever a clock says.
LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("account", Key, primary_key=True),
    required("owner", sa.Text),
    required("token", sa.BigInteger),
    required("expires_at", Utc),
    required("released", sa.Boolean),
)

SYSTEM_STATE = sa.Table(
    "system_state",
    METADATA,
    sa.Column("account", Key, primary_key=True),
    required("strategy_id", sa.Text),
    required("venue", sa.Text),
    required("status", Word(RunStatus)),
    required("heartbeat_at", Utc),
    required("started_at", Utc),
    required("owner", sa.Text),
    required("source", sa.Text),
    required("base_currency", sa.Text),
    required("initial_equity", Exact),
    required("peak_equity", Exact),
    required("day_start_equity", Exact),
    required("equity", Exact),
    required("cash", JsonOf(_cash)),
    required("restrictions", JsonOf(_restrictions)),
    sa.Column("day", sa.Date),
    required("consecutive_losses", sa.Integer),
    sa.Column("cursor", Utc),
    sa.Column("fills_since", Utc),
    required("memory", Json),
    required("revision", sa.BigInteger),
)

# Literal, so that a query for them is seen to be one that the index is for.
WORKING = sa.text("status IN ('recorded', 'sent', 'open')")

ORDERS = sa.Table(
    "orders",
    METADATA,
    sa.Column("client_order_id", Key, primary_key=True),
    required("account", Key),
    required("strategy_id", sa.Text),
    required("instrument", Instrument),
    required("side", Word(Side)),
    required("quantity", Exact),
    required("type", Word(OrderType)),
    sa.Column("limit_price", Exact),
    required("reference_price", Exact),
    required("reduces", sa.Boolean),
    required("decided_at", Utc),
    required("valid_until", Utc),
    required("recorded_at", Utc),
    required("reason", sa.Text),
    required("status", Word(OrderStatus)),
    sa.Column("venue_order_id", sa.Text),
    required("filled", Exact),
    sa.Column("average_price", Exact),
    sa.Index(None, "account", "decided_at"),
)
sa.Index("ix_orders_working", ORDERS.c.account, sqlite_where=WORKING, postgresql_where=WORKING)

FILLS = sa.Table(
    "fills",
    METADATA,
    sa.Column("account", Key, primary_key=True),
    sa.Column("instrument", Instrument, primary_key=True),
    sa.Column("fill_id", Key, primary_key=True),
    sa.Column("client_order_id", sa.Text),  # of an order that need not be ours
    sa.Column("venue_order_id", sa.Text),
    required("side", Word(Side)),
    required("quantity", Exact),
    required("price", Exact),
    required("fee", Exact),
    required("fee_currency", sa.Text),
    required("at", Utc),
    sa.Index(None, "account", "at"),
)

POSITIONS = sa.Table(
    "positions",
    METADATA,
    sa.Column("account", Key, primary_key=True),
    sa.Column("instrument", Instrument, primary_key=True),
    required("quantity", Exact),
    required("cost", Exact),
    required("realised", Exact),
    required("fees", Exact),
    sa.Column("opened_at", Utc),
    required("entered", Exact),
    required("left", Exact),
    required("entered_value", Exact),
    required("left_value", Exact),
    required("trip_fees", Exact),
)

TRADES = sa.Table(
    "trades",
    METADATA,
    sa.Column("account", Key, primary_key=True),
    sa.Column("closed_at", Utc, primary_key=True),
    sa.Column("instrument", Instrument, primary_key=True),
    required("side", Word(Side)),
    required("quantity", Exact),
    required("entry", Exact),
    required("exit", Exact),
    required("fees", Exact),
    required("pnl", Exact),
    required("opened_at", Utc),
    sqlite_with_rowid=False,
)

SIGNALS = sa.Table(
    "signals",
    METADATA,
    sa.Column("account", Key, primary_key=True),
    sa.Column("ts", Utc, primary_key=True),
    sa.Column("instrument", Instrument, primary_key=True),
    required("strategy_id", sa.Text),
    sa.Column("version", sa.Text),
    sa.Column("color", sa.Text),
    sa.Column("epoch", sa.Integer),
    sa.Column("score", sa.Double),
    sa.Column("confidence", sa.Double),
    required("target", sa.Double),
    required("price", Exact),
    sa.Column("client_order_id", sa.Text),
    required("outcome", sa.Text),
    sqlite_with_rowid=False,
)

EQUITY = sa.Table(
    "equity",
    METADATA,
    sa.Column("account", Key, primary_key=True),
    sa.Column("at", Utc, primary_key=True),
    required("equity", Exact),
    required("cash", Exact),
    required("drawdown", sa.Double),
    required("daily_pnl", Exact),
    sqlite_with_rowid=False,
)

RECOVERY_EVENTS = sa.Table(
    "recovery_events",
    METADATA,
    sa.Column("id", Key, primary_key=True),
    required("account", Key),
    required("kind", Word(RecoveryKind)),
    required("at", Utc),
    required("seconds", sa.Double),
    required("adopted_fills", sa.Integer),
    required("discrepancies", JsonOf(_discrepancies)),
    required("resolved", sa.Boolean),
    required("reason", sa.Text),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("acknowledged_at", Utc),
    sa.Index(None, "account", "at"),
)

# Orders that could not be sent, and will not be.
ORDER_DEAD_LETTERS = sa.Table(
    "order_dead_letters",
    METADATA,
    sa.Column("account", Key, primary_key=True),
    sa.Column("client_order_id", Key, primary_key=True),
    required("at", Utc),
    required("attempts", sa.Integer),
    required("reason", sa.Text),
    sa.Index(None, "account", "at"),
)

# What persons ask of the trader.
CONTROLS = sa.Table(
    "controls",
    METADATA,
    sa.Column("id", Key, primary_key=True),
    required("account", Key),
    required("kind", Word(ControlKind)),
    required("actor", sa.Text),
    required("reason", sa.Text),
    required("asked_at", Utc),
    sa.Column("answered_at", Utc),
    required("answer", sa.Text),
)
_UNANSWERED = sa.text("answered_at IS NULL")
sa.Index(
    "ix_controls_unanswered",
    CONTROLS.c.account,
    sqlite_where=_UNANSWERED,
    postgresql_where=_UNANSWERED,
)

# Only those that somebody ever changed; `revision` counts the changes.
STRATEGIES = sa.Table(
    "strategies",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    required("enabled", sa.Boolean),
    required("revision", sa.Integer),
    required("actor", sa.Text),
    required("reason", sa.Text),
    required("changed_at", Utc),
)
