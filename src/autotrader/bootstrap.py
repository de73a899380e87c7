"""The one place that turns Settings into adapters, lazily.

`open_ports` gives a verb or a step the ports that its signature names. A provider imports what it
needs when it is asked, so that a command pays only for what it uses; what needs closing is closed
when the block ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autotrader import tracing
from autotrader.config.settings import DeploymentTargetKind, Settings, load_settings
from autotrader.domain.instruments import Venue
from autotrader.log import configure_logging
from autotrader.ports.alerts import Alerts, Channel, Channels
from autotrader.ports.approvals import Approvals
from autotrader.ports.archive import Archive
from autotrader.ports.broker import Brokers, OpenBroker
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.credentials import CredentialCheck, CredentialChecks
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, ReleaseStore
from autotrader.ports.events import EventLog
from autotrader.ports.holds import Holds
from autotrader.ports.jobs import Jobs
from autotrader.ports.market_data import (
    BarStreams,
    ClosedBars,
    MarketDataSource,
    MarketDataSources,
    PageDecoder,
    PageDecoders,
)
from autotrader.ports.pipeline_runs import PipelineRuns
from autotrader.ports.places import Bucket, Place, Places
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.service_levels import ServiceLevelReadings
from autotrader.ports.studies import Studies
from autotrader.ports.tokens import Tokens
from autotrader.ports.tracking import ExperimentTracker
from autotrader.ports.trading import TradingRecords
from autotrader.ports.trials import TrialLedger

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from autotrader.alerts.postbox import Postbox
    from autotrader.data.lake import Lake
    from autotrader.data.predictions import PredictionStore
    from autotrader.features.store.store import FeatureStore


class Container:
    """Builds each adapter once, on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._buckets: dict[str, Bucket] = {}

    @cached_property
    def wall_clock(self) -> WallClock:
        from autotrader.adapters.clocks import SystemWallClock

        return SystemWallClock()

    @cached_property
    def market_clock(self) -> MarketClock:
        from autotrader.adapters.clocks import LiveMarketClock, StandingMarketClock

        stands_at = self.settings.clock.market_time
        return StandingMarketClock(stands_at) if stands_at else LiveMarketClock()

    @cached_property
    def archive(self) -> Archive:
        from autotrader.adapters.file_archive import FileArchive

        return FileArchive(self.place(self.settings.archive_uri))

    @cached_property
    def lake(self) -> Lake:
        from autotrader.data.lake import Lake

        return Lake(self.place(self.settings.lake_uri))

    def place(self, uri: str) -> Place:
        """A folder, or what lies below a prefix of a bucket."""
        from autotrader.data.places import place_of

        return place_of(uri, self.bucket)

    def bucket(self, name: str) -> Bucket:
        from autotrader.adapters.s3_bucket import S3Bucket

        if name not in self._buckets:
            self._buckets[name] = S3Bucket(self.settings.aws, name)
        return self._buckets[name]

    @cached_property
    def feature_store(self) -> FeatureStore:
        from autotrader.features.store.store import FeatureStore

        return FeatureStore(self.lake, self.market_clock)

    @cached_property
    def engine(self) -> Engine:
        from autotrader.db.engine import open_database

        return open_database(self.settings.database_url)

    @cached_property
    def events(self) -> EventLog:
        from autotrader.db.events import SqlEventLog

        return SqlEventLog(self.engine)

    @cached_property
    def holds(self) -> Holds:
        from autotrader.db.holds import SqlHolds

        return SqlHolds(self.engine)

    @cached_property
    def trials(self) -> TrialLedger:
        from autotrader.db.engine import open_database
        from autotrader.db.trials import SqlTrialLedger

        return SqlTrialLedger(open_database(self.settings.ledger_url))

    @cached_property
    def studies(self) -> Studies:
        if self.engine.dialect.name == "postgresql":
            from autotrader.db.studies import PostgresStudies

            return PostgresStudies(self.engine)
        from autotrader.training.studies import LocalStudies

        return LocalStudies()

    @cached_property
    def tracker(self) -> ExperimentTracker:
        from autotrader.adapters.mlflow_tracking import MlflowTracker

        return MlflowTracker(self.settings.mlflow_uri, experiment=self.settings.strategy.strategy_id)

    @cached_property
    def registry(self) -> ModelRegistry:
        from autotrader.adapters.mlflow_registry import MlflowRegistry

        return MlflowRegistry(self.settings.mlflow_uri, self.engine, self.events, self.wall_clock)

    @cached_property
    def deployment_records(self) -> DeploymentRecords:
        from autotrader.db.deployment_records import SqlDeploymentRecords

        return SqlDeploymentRecords(self.engine, self.settings.strategy.strategy_id)

    @cached_property
    def tokens(self) -> Tokens:
        from autotrader.db.tokens import SqlTokens

        return SqlTokens(self.engine)

    @cached_property
    def approvals(self) -> Approvals:
        from autotrader.db.approvals import SqlApprovals

        return SqlApprovals(self.engine)

    @cached_property
    def trading_records(self) -> TradingRecords:
        from autotrader.db.trading_records import SqlTradingRecords

        return SqlTradingRecords(self.engine)

    @cached_property
    def deployment_target(self) -> DeploymentTarget:
        match self.settings.deployment.target:
            case DeploymentTargetKind.LOCAL:
                from autotrader.adapters.local_target import LocalTarget

                return LocalTarget(self.settings)
            case DeploymentTargetKind.CONTAINERS:
                from autotrader.adapters.container_target import ContainerTarget

                return ContainerTarget(self.settings)
            case DeploymentTargetKind.ECS:
                from autotrader.adapters.ecs_target import EcsTarget

                return EcsTarget(self.settings, self.release_store)

    @cached_property
    def release_store(self) -> ReleaseStore:
        from autotrader.adapters.ecs_releases import S3Releases

        return S3Releases(self.settings)

    @cached_property
    def postbox(self) -> Postbox:
        from autotrader.adapters.smtp_mail import SmtpMailServer
        from autotrader.alerts.postbox import Postbox

        mail = self.settings.mail
        return Postbox(
            self.settings.home.resolve() / "mail",
            SmtpMailServer(mail) if mail.host else None,
            sender=mail.sender,
            recipients=mail.recipients,
            clock=self.wall_clock,
        )

    @cached_property
    def alerts(self) -> Alerts:
        from autotrader.alerts.set_up import routing_of
        from autotrader.db.alerts import SqlAlerts

        runbooks = self.settings.monitoring.runbook_url
        return SqlAlerts(self.engine, routing_of(self.settings), runbooks=runbooks)

    @cached_property
    def jobs(self) -> Jobs:
        from autotrader.db.jobs import SqlJobs

        asked = self.settings.jobs
        return SqlJobs(self.engine, tries=asked.tries, retry_seconds=asked.retry_seconds)

    def channels(self) -> Sequence[Channel]:
        """New ones, of all that are set up; the caller closes them."""
        from autotrader.alerts.set_up import open_channels

        return open_channels(self.settings, self.postbox, self.wall_clock)

    @cached_property
    def pipeline_runs(self) -> PipelineRuns:
        from autotrader.adapters.airflow_runs import AirflowRuns

        return AirflowRuns(self.settings)

    @cached_property
    def service_levels(self) -> ServiceLevelReadings:
        from autotrader.adapters.prometheus_levels import PrometheusLevels

        return PrometheusLevels(self.settings.prometheus_url)

    @cached_property
    def predictions(self) -> PredictionStore:
        from autotrader.data.predictions import PredictionStore

        return PredictionStore(self.lake)

    def source(self, venue: Venue) -> MarketDataSource:
        """A new connection to the venue; the caller closes it."""
        match venue:
            case Venue.BINANCE:
                from autotrader.connectors.binance_ws.source import BinanceSource

                return BinanceSource(self.settings.binance, self.market_clock, self.wall_clock)
            case Venue.IBKR:
                from autotrader.connectors.ibkr_connector.source import IbkrSource

                return IbkrSource(self.settings.ibkr, self.market_clock, self.wall_clock)
            case Venue.OANDA:
                from autotrader.connectors.oanda.source import OandaSource

                return OandaSource(self.settings.oanda, self.market_clock, self.wall_clock)

    def bar_stream(self, source: MarketDataSource) -> ClosedBars | None:
        """The venue's own stream of closed bars over an open source; None where it has none."""
        from autotrader.connectors.binance_ws.source import BinanceSource

        if not isinstance(source, BinanceSource):
            return None
        from autotrader.connectors.binance_ws.bar_stream import BarStream

        return BarStream(source, self.settings.binance, self.market_clock, self.wall_clock)

    def broker(self, venue: Venue, account: str) -> OpenBroker:
        """The account at the venue; raises Refused or ConfigurationError where it may not be opened."""
        live = self.settings.trading.live
        match venue:
            case Venue.BINANCE:
                from autotrader.connectors.binance_ws.broker import BinanceBroker

                return BinanceBroker(self.settings.binance, self.wall_clock, account=account, live=live)
            case Venue.IBKR:
                from autotrader.connectors.ibkr_connector.broker import IbkrBroker

                return IbkrBroker(self.settings.ibkr, self.wall_clock, account=account, live=live)
            case Venue.OANDA:
                from autotrader.connectors.oanda.broker import OandaBroker

                return OandaBroker(self.settings.oanda, self.wall_clock, account=account, live=live)

    def decoder(self, venue: Venue) -> PageDecoder:
        """Reads the venue's raw pages; needs no connection."""
        match venue:
            case Venue.BINANCE:
                from autotrader.connectors.binance_ws.decode import decode_page
            case Venue.IBKR:
                from autotrader.connectors.ibkr_connector.decode import decode_page
            case Venue.OANDA:
                from autotrader.connectors.oanda.decode import decode_page
        return decode_page

    def credential_checks(self) -> Sequence[CredentialCheck]:
        """One for each service that wants a credential, used or not."""
        from autotrader.adapters.mlflow_credentials import MlflowCredential
        from autotrader.connectors.binance_ws.credentials import BinanceCredential
        from autotrader.connectors.ibkr_connector.credentials import IbkrCredential
        from autotrader.connectors.oanda.credentials import OandaCredential
        from autotrader.db.credentials import DatabaseCredential

        settings = self.settings
        return (
            BinanceCredential(settings.binance, required=False),
            OandaCredential(settings.oanda, self.wall_clock, required=Venue.OANDA in settings.venues),
            IbkrCredential(self.source, required=Venue.IBKR in settings.venues),
            DatabaseCredential(settings.database_url),
            MlflowCredential(settings.mlflow_uri),
        )

    def close(self) -> None:
        if "engine" in self.__dict__:
            self.engine.dispose()


def configure_process() -> None:
    """Send logs to stderr as the settings say; for a process of our own, not inside Airflow's.

    Raises
    ------
    ConfigurationError
        If a setting is wrong.
    """
    settings = load_settings()
    configure_logging(level=settings.log.level, form=settings.log.format)
    tracing.turn_on(settings.tracing.endpoint)


def _providers() -> dict[str, Callable[[Container], Any]]:
    """By dotted name of the type, so that asking for one imports no other."""
    return {
        _name(Settings): lambda c: c.settings,
        _name(WallClock): lambda c: c.wall_clock,
        _name(MarketClock): lambda c: c.market_clock,
        _name(Archive): lambda c: c.archive,
        _name(EventLog): lambda c: c.events,
        _name(Holds): lambda c: c.holds,
        _name(TrialLedger): lambda c: c.trials,
        _name(Studies): lambda c: c.studies,
        _name(ExperimentTracker): lambda c: c.tracker,
        _name(ModelRegistry): lambda c: c.registry,
        _name(MarketDataSources): lambda c: c.source,
        _name(PageDecoders): lambda c: c.decoder,
        _name(Places): lambda c: c.place,
        _name(BarStreams): lambda c: c.bar_stream,
        _name(Brokers): lambda c: c.broker,
        _name(CredentialChecks): lambda c: c.credential_checks,
        _name(DeploymentRecords): lambda c: c.deployment_records,
        _name(DeploymentTarget): lambda c: c.deployment_target,
        _name(ReleaseStore): lambda c: c.release_store,
        _name(Tokens): lambda c: c.tokens,
        _name(Approvals): lambda c: c.approvals,
        _name(Alerts): lambda c: c.alerts,
        _name(Channels): lambda c: c.channels,
        _name(Jobs): lambda c: c.jobs,
        _name(TradingRecords): lambda c: c.trading_records,
        _name(PipelineRuns): lambda c: c.pipeline_runs,
        _name(ServiceLevelReadings): lambda c: c.service_levels,
        "autotrader.alerts.postbox.Postbox": lambda c: c.postbox,
        "autotrader.data.lake.Lake": lambda c: c.lake,
        "autotrader.data.predictions.PredictionStore": lambda c: c.predictions,
        "autotrader.features.store.store.FeatureStore": lambda c: c.feature_store,
        "sqlalchemy.engine.base.Engine": lambda c: c.engine,
    }


def provides(kind: object) -> bool:
    """Whether `open_ports` can give something of this type."""
    return isinstance(kind, type) and _name(kind) in _providers()


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


@contextlib.contextmanager
def open_ports(wanted: Mapping[str, type], settings: Settings | None = None) -> Iterator[dict[str, Any]]:
    """The ports that a signature names, closed when the block ends.

    Parameters
    ----------
    wanted : Mapping[str, type]
        Parameter name to annotated type.
    settings : Settings or None
        Read from the environment when None.

    Raises
    ------
    TypeError
        If a type has no provider: a mistake in the verb, not of its user.
    ConfigurationError
        If a setting is wrong.
    """
    container = Container(settings or load_settings())
    providers = _providers()
    unknown = [f"{name}: {kind}" for name, kind in wanted.items() if _name(kind) not in providers]
    if unknown:
        raise TypeError(f"nothing provides {', '.join(unknown)}")
    try:
        yield {name: providers[_name(kind)](container) for name, kind in wanted.items()}
    finally:
        container.close()
