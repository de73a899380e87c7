"""What the routes read from, and write to."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from autotrader.apps.api.access import Door
from autotrader.apps.api.board import HealthBoard
from autotrader.apps.api.metrics import ApiMetrics
from autotrader.apps.api.stream import Stream
from autotrader.config.settings import Settings
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.events import EventLog
from autotrader.ports.trading import TradingRecords


@dataclass(frozen=True, slots=True)
class Sources:
    settings: Settings
    engine: Engine
    events: EventLog
    records: TradingRecords
    deployment: DeploymentRecords
    clock: WallClock
    door: Door
    board: HealthBoard
    metrics: ApiMetrics
    stream: Stream

    @property
    def account(self) -> str:
        """The account of the settings: what a request means that names none."""
        return self.settings.trading.account
