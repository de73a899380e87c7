"""What a trader may do, why, and who may change it."""

from __future__ import annotations

from enum import StrEnum


class TradingState(StrEnum):
    """ACTIVE trades; REDUCING sends only orders that shrink exposure; HALTED sends none but those
    with which the circuit breaker flattens."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"

    @property
    def rank(self) -> int:
        return list(TradingState).index(self)


class Cause(StrEnum):
    """Why a state holds. Each cause holds its own state; the account is in the worst of them."""

    OPERATOR = "operator"
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    RECONCILIATION = "reconciliation"
    LOSSES = "losses"
    STRATEGY = "strategy"
    FEED = "feed"
    PREDICTIONS = "predictions"
    DATABASE = "database"
    BROKER = "broker"
    REGISTRY = "registry"

    @property
    def is_breaker(self) -> bool:
        return self in {Cause.DAILY_LOSS, Cause.DRAWDOWN}


class RunStatus(StrEnum):
    """Of the trader process, as it says itself; RUNNING with an old heartbeat is a crash."""

    RUNNING = "running"
    STOPPED = "stopped"


class DiscrepancyKind(StrEnum):
    EXTRA_AT_BROKER = "EXTRA_AT_BROKER"
    MISSING_AT_BROKER = "MISSING_AT_BROKER"
    QUANTITY_MISMATCH = "QUANTITY_MISMATCH"
    ORPHANED_ORDER = "ORPHANED_ORDER"


class RecoveryKind(StrEnum):
    STARTUP = "STARTUP"
    CRASH = "CRASH"
    MANUAL = "MANUAL"
    CONTINUOUS = "CONTINUOUS"


class ControlKind(StrEnum):
    """What a person asks of the trader."""

    HALT = "halt"
    RESUME = "resume"
    RECONCILE = "reconcile"
    ACKNOWLEDGE = "acknowledge"
    ADOPT = "adopt"
