"""What goes wrong before the page of an alert is opened: in a part of the platform, never in a metric."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.runbooks import broken_parts as parts
from tests.runbooks import broken_state as state
from tests.runbooks.stack import Stack
from tests.runbooks.versions import Words


@dataclass(frozen=True)
class Fault:
    """A fault, as long as its context is open; and how it is seen that it is over.

    Attributes
    ----------
    is_over : Callable
        Looked at before the page's own diagnosis is run once more.
    is_mended_by_page : bool
        The blocks below Mitigation end it; else it is what the page asks for that no block can do here.
    variables : Callable
        Of the environment, while it is there.
    """

    begin: Callable[[Stack], AbstractContextManager[Words | None]]
    is_over: Callable[[Stack], bool]
    is_mended_by_page: bool = True
    variables: Callable[[Stack], Words] = lambda _: {}


FAULTS = {
    "BackupFailed": Fault(state.no_room_for_backups, state.has_backup, is_mended_by_page=False),
    "BackupMissing": Fault(state.no_backup, state.has_backup),
    "CircuitBreakerTripped": Fault(state.falling_market, state.has_resumed, variables=state.other_account),
    "ComponentUnhealthy": Fault(parts.hanging_registry, parts.has_registry, is_mended_by_page=False),
    "DataPipelineFailure": Fault(parts.venue_away, parts.venue_answers, is_mended_by_page=False),
    "DatabaseConnectionsExhausted": Fault(parts.connections_held, parts.has_connections),
    "ErrorBudgetBurn": Fault(state.failing_model, state.is_served, is_mended_by_page=False),
    "HighErrorRate": Fault(state.failing_model, state.is_served),
    "ModelDeploymentFailure": Fault(state.unsound_candidate, state.is_left),
    "PositionMismatch": Fault(state.trade_by_hand, state.is_active),
    "PostgresDown": Fault(
        parts.postgres_down,
        parts.postgres_answers,
        is_mended_by_page=False,
        variables=lambda stack: {"AUTOTRADER_DATABASE__URL": stack.environment["DATABASE"]},
    ),
    "RedisDown": Fault(parts.redis_down, parts.redis_answers, is_mended_by_page=False),
    "ServiceDown": Fault(parts.killed_exporter, parts.answers_all),
    "SystemDown": Fault(parts.killed_platform, parts.answers_all),
}
