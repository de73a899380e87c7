"""What the panels read, opened when one first asks: a source that is down is that panel's affair alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from autotrader.apps.api.figures import FigureBook
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.features.store.store import FeatureStore
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.tracking import ExperimentTracker
from autotrader.ports.trading import TradingRecords

T = TypeVar("T")
Opened = Callable[[], T]


class Ports(Protocol):
    """What opens the ports, each once and when it is asked for: `autotrader.bootstrap.Container`."""

    settings: Settings

    @property
    def wall_clock(self) -> WallClock: ...
    @property
    def market_clock(self) -> MarketClock: ...
    @property
    def registry(self) -> ModelRegistry: ...
    @property
    def tracker(self) -> ExperimentTracker: ...
    @property
    def deployment_records(self) -> DeploymentRecords: ...
    @property
    def deployment_target(self) -> DeploymentTarget: ...
    @property
    def trading_records(self) -> TradingRecords: ...
    @property
    def alerts(self) -> Alerts: ...
    @property
    def lake(self) -> Lake: ...
    @property
    def feature_store(self) -> FeatureStore: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Ports of the panels; what is called may raise what opening it raises.

    Attributes
    ----------
    airflow_root : str
        Path below which Airflow's UI is served; empty, or as `/airflow`.
    gates : dict
        Gate reports by tracking run, as they are read: that of a judged run never changes.
    """

    settings: Settings
    clock: WallClock
    market_clock: MarketClock
    registry: Opened[ModelRegistry]
    tracker: Opened[ExperimentTracker]
    deployment: Opened[DeploymentRecords]
    target: Opened[DeploymentTarget]
    records: Opened[TradingRecords]
    figures: Opened[FigureBook]
    alerts: Opened[Alerts]
    lake: Opened[Lake]
    features: Opened[FeatureStore]
    airflow_root: str = ""
    gates: dict[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)

    @property
    def reports(self) -> Path:
        """Folder of the health reports."""
        return self.settings.home.resolve() / "reports" / "health"


def sources_of(container: Ports, *, airflow_root: str = "") -> Sources:
    """The adapters of the settings; each is made once, whichever panel asks first."""
    # Over the database one at a time, so that there is one engine; the others do not wait for them.
    database, lake, rest = threading.Lock(), threading.Lock(), threading.Lock()
    figures: list[FigureBook] = []

    def book() -> FigureBook:
        if not figures:
            figures.append(FigureBook(container.wall_clock))
        return figures[0]

    return Sources(
        settings=container.settings,
        clock=container.wall_clock,
        market_clock=container.market_clock,
        registry=_under(database, lambda: container.registry),
        tracker=_under(rest, lambda: container.tracker),
        deployment=_under(database, lambda: container.deployment_records),
        target=_under(rest, lambda: container.deployment_target),
        records=_under(database, lambda: container.trading_records),
        figures=_under(database, book),
        alerts=_under(database, lambda: container.alerts),
        lake=_under(lake, lambda: container.lake),
        features=_under(lake, lambda: container.feature_store),
        airflow_root=airflow_root,
    )


def _under(lock: threading.Lock, make: Opened[T]) -> Opened[T]:
    def opened() -> T:
        with lock:
            return make()

    return opened
