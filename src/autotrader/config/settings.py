"""One settings object for every process, read from the environment and from env files.

Prefix `AUTOTRADER_`, nested with `__` (`AUTOTRADER_BINANCE__API_KEY`). Order of precedence: the
environment, `.env`, `<home>/runtime.env` (what the local stack wrote of itself), defaults.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from autotrader.domain.bars import Interval, require_utc
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.metrics import Profile
from autotrader.ports.alerts import ChannelName
from autotrader.ports.trading import LONGEST_LEASE_SECONDS

PREFIX = "AUTOTRADER_"
RUNTIME_FILE = "runtime.env"


class Environment(StrEnum):
    DEV = "dev"
    STAGING = "staging"
    PRODUCTION = "production"


def _split_words(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return value.replace(",", " ").split()


SomeWords = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_words)]
Words = Annotated[SomeWords, Field(min_length=1)]
Profiles = Annotated[tuple[Profile, ...], NoDecode, BeforeValidator(_split_words)]
ChannelNames = Annotated[tuple[ChannelName, ...], NoDecode, BeforeValidator(_split_words)]
Venues = Annotated[tuple[Venue, ...], NoDecode, BeforeValidator(_split_words), Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Utc = Annotated[datetime, AfterValidator(require_utc)]


class MarketSource(StrEnum):
    """Where the quickstart takes market data from."""

    AUTO = "auto"
    BINANCE = "binance"
    RECORDED = "recorded"
    SIMULATED = "simulated"


class Section(BaseModel):
    """Base of the nested groups: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BinanceSettings(Section):
    rest_url: str = Field("https://api.binance.com", description="Base URL of the spot REST API")
    stream_url: str = Field("wss://stream.binance.com:9443", description="Base URL of the streams")
    account_stream_url: str = Field(
        "wss://ws-api.binance.com:443/ws-api/v3", description="The WebSocket API, which tells of our orders"
    )
    api_key: SecretStr | None = Field(None, description="Needed for account and orders only")
    api_secret: SecretStr | None = None
    instruments: Words = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
    source: str = Field("binance", description="Label stored with every bar")
    weight_per_minute: int = Field(6000, ge=1, description="Request weight that the venue allows")
    concurrency: int = Field(8, ge=1, le=64, description="Requests under way at once")
    recv_window_ms: int = Field(3000, ge=100, le=3000, description="The venue drops orders older than this")
    publication_latency_seconds: float = Field(2.0, ge=0, description="From close until known")


class IbkrSettings(Section):
    host: str = "127.0.0.1"
    port: Port = Field(7497, description="TWS 7497 paper, 7496 live; Gateway 4002, 4001")
    client_id: int = Field(17, ge=0)
    instruments: Words = ("AAPL", "MSFT", "GOOGL", "AMZN")
    use_rth: bool = Field(True, description="Regular trading hours only")
    library: Literal["auto", "ib_async", "ib_insync"] = Field(
        "auto", description="auto: ib_async where it is installed, else ib_insync"
    )
    source: str = "ibkr"
    publication_latency_seconds: float = Field(5.0, ge=0)


class OandaSettings(Section):
    rest_url: str = "https://api-fxpractice.oanda.com"
    stream_url: str = "https://stream-fxpractice.oanda.com"
    token: SecretStr | None = None
    account: str | None = None
    instruments: Words = ("EUR_USD", "GBP_USD", "USD_JPY")
    source: str = "oanda"
    publication_latency_seconds: float = Field(2.0, ge=0)


class LabelKind(StrEnum):
    FORWARD_RETURN = "forward_return"
    TRIPLE_BARRIER = "triple_barrier"


class LabelSettings(Section):
    """What a model is asked to foresee; the barriers are those of `triple_barrier` alone."""

    kind: LabelKind = Field(
        LabelKind.FORWARD_RETURN, description="forward_return over the horizon, or triple_barrier within it"
    )
    profit_multiple: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="Triple barrier: profit is taken this many deviations of the horizon's return away",
    )
    stop_multiple: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Triple barrier: losses are cut this many of them away"
    )
    volatility_span_bars: int = Field(
        200, ge=2, description="Triple barrier: bars that the standard deviation is of"
    )

    @property
    def rule(self) -> str:
        """All that the labels depend on, horizon and costs apart: equal rules make equal labels."""
        if self.kind is LabelKind.FORWARD_RETURN:
            return self.kind.value
        return (
            f"{self.kind.value}, profit {self.profit_multiple!r}, stop {self.stop_multiple!r}, "
            f"volatility of {self.volatility_span_bars} bars"
        )


class StrategySettings(Section):
    strategy_id: str = Field("autotrader-strategy", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    interval: Interval = Interval.M1
    horizon_minutes: int = Field(60, ge=5, le=300, description="How far ahead labels look, at most")
    round_trip_cost_bps: float = Field(10.0, ge=0, description="Fees and slippage, in and out")
    allocated_capital: Decimal = Field(Decimal(100_000), gt=0)
    labels: LabelSettings = LabelSettings()


class TrainingSettings(Section):
    lookback_days: int = Field(90, ge=1, description="Training window of each fold")
    evaluation_days: int = Field(730, ge=1, description="Out-of-sample window that gates judge")
    fold_days: int = Field(7, ge=1, description="Test window of each fold")
    trials_per_model: int = Field(6, ge=1)
    models: Words = ("logistic", "hist_gradient_boosting", "lightgbm")
    sample_every_bars: int = Field(
        5, ge=1, description="Labels overlap: learn from and decide at every n-th bar"
    )
    seed: int = 7
    keep_runs: int = Field(5, ge=1, description="Newest runs whose files are kept under home")


class DatabaseSettings(Section):
    url: SecretStr | None = Field(None, description="SQLAlchemy URL; default SQLite under home")
    ledger_url: SecretStr | None = Field(None, description="Trial ledger; survives `make clean`")
    admin_url: SecretStr | None = Field(
        None, description="Of PostgreSQL's administrator, while a server is prepared; no process keeps it"
    )


class IngestionSettings(Section):
    initial_days: int = Field(120, ge=1, description="History that the first incremental run loads")


class LakeSettings(Section):
    uri: str | None = Field(None, description="Folder or s3:// of the Delta tables; default under home")
    archive_uri: str | None = Field(None, description="Folder or s3:// of the raw pages; default under home")
    retention_days: float = Field(
        7.0, ge=1, description="Data files that no version, newest or pinned, names are deleted after so long"
    )


class MlflowSettings(Section):
    tracking_uri: str | None = Field(None, description="Default: the local server on `port`")
    port: Port = 5000
    database_url: SecretStr | None = Field(
        None, description="Where its server keeps runs and versions, for backups; default SQLite under home"
    )
    artifacts_uri: str | None = Field(
        None, description="Folder or s3:// of its server's files, for backups; default under home"
    )


class AirflowSettings(Section):
    url: str | None = Field(None, description="Default: the local API server on `port`")
    mwaa_environment: str | None = Field(
        None,
        pattern=r"^[a-zA-Z][0-9a-zA-Z_-]{0,79}$",
        description="Name of the Amazon MWAA environment that Airflow is; asked through AWS, by our role",
    )
    port: Port = 8080
    user: str = "admin"
    password: SecretStr | None = Field(None, description="Default: made at first use, kept under home")
    broker_url: SecretStr | None = Field(
        None,
        description="Where Celery's workers take their tasks from, for the exporter to ask them; "
        "default AIRFLOW__CELERY__BROKER_URL",
    )
    dags_folder: Path = Path("dags")
    plugins_folder: Path = Path("plugins")


class ExchangeSettings(Section):
    port: Port = Field(8090, description="Of the stand-in exchange, where Binance cannot be reached")


class ClockSettings(Section):
    market_time: Utc | None = Field(None, description="Market time stands here (replay); empty is UTC now")


class ServingSettings(Section):
    """The prediction service; one process a colour."""

    blue_port: Port = 8000
    green_port: Port = 8001
    token: SecretStr | None = Field(
        None, description="Callers' bearer token; default: made at first use, kept under home"
    )
    max_rows: int = Field(1_000, ge=1, le=100_000, description="Rows that a request may hold")
    max_concurrency: int = Field(64, ge=1, description="Requests under way before more are shed with 503")
    drain_seconds: float = Field(
        10.0, ge=0, description="Patience with requests under way when it is stopped"
    )


class DeploymentTargetKind(StrEnum):
    LOCAL = "local"
    CONTAINERS = "containers"
    ECS = "ecs"


class DeploymentSettings(Section):
    target: DeploymentTargetKind = Field(DeploymentTargetKind.LOCAL, description="Where the colours run")
    ecs_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/]+$",
        description="Base URL of the load balancer; empty is its own name, which no certificate is of",
    )
    container_host: str = Field(
        "prediction-{color}", description="Under which name a container of a colour is found"
    )
    canary_instruments: Words = Field(("BTCUSDT", "ETHUSDT"), description="First instruments of a rollout")
    ready_seconds: float = Field(300.0, gt=0, description="Green must be ready within")
    supervision_seconds: float = Field(
        180.0, gt=1, description="Without a controller for this long, readers go back to the stable colour"
    )
    warm_hours: float = Field(24.0, ge=0, description="The colour left behind is kept running for")
    keep_pairs_days: float = Field(
        30.0, ge=1, description="Pairs of answers are kept so long after their rollout; verdicts for ever"
    )
    idle_hours: float = Field(
        1.0, gt=0, description="A stage that passed, or paused, waits for people so long, then is rolled back"
    )


class ReleaseSettings(Section):
    """What a task of a colour serves: the deployment writes it into the task's definition."""

    uri: str | None = Field(None, pattern=r"^s3://[^/]+/.+[^/]$", description="Where it lies")
    version: str | None = Field(None, description="Such as v1.2.3")
    onnx_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Digest of its model")


class BrokerKind(StrEnum):
    PAPER = "paper"
    BINANCE = "binance"
    IBKR = "ibkr"
    OANDA = "oanda"


class RiskSettings(Section):
    """Limits that every order passes; shares are fractions of equity."""

    risk_per_trade: float = Field(
        0.02, gt=0, le=1, description="Loss at the stop distance that one trade may risk"
    )
    max_position: float = Field(0.20, gt=0, le=1, description="One instrument")
    max_strategy: float = Field(0.50, gt=0, le=1, description="All positions of a strategy together")
    max_gross: float = Field(1.0, gt=0, le=10, description="Sum of absolute positions of the account")
    max_order_notional: Decimal = Field(Decimal(50_000), gt=0, description="One order, base currency")
    price_band: float = Field(
        0.02, gt=0, lt=1, description="An order's price may be off the last trade by so much"
    )
    orders_per_minute: int = Field(10, ge=1)
    orders_per_hour: int = Field(100, ge=1)
    orders_per_day: int = Field(1000, ge=1)
    pause_losses: int = Field(3, ge=1, description="Losing trades in a row that pause new positions")
    halt_losses: int = Field(5, ge=1, description="Losing trades in a row that halt for `halt_minutes`")
    pause_minutes: float = Field(10.0, gt=0)
    halt_minutes: float = Field(30.0, gt=0)
    max_daily_loss: float = Field(0.05, gt=0, lt=1, description="Beyond it the circuit breaker trips")
    max_drawdown: float = Field(0.15, gt=0, lt=1, description="Beyond it the circuit breaker trips")


class PaperSettings(Section):
    """The paper venue: fills at the next bar's open."""

    initial_cash: Decimal = Field(Decimal(100_000), gt=0)
    slippage_bps: float = Field(1.0, ge=0)
    half_spread_bps: float = Field(1.0, ge=0)
    fee_bps: float = Field(3.0, ge=0)
    participation: float = Field(0.1, gt=0, le=1, description="Share of a bar's volume that may be filled")


class TradingSettings(Section):
    """The trader; an account is a broker's, and one process trades it at a time."""

    broker: BrokerKind = BrokerKind.PAPER
    account: str = Field(
        "main", pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$", description="Name of the account here"
    )
    live: bool = Field(False, description="Real orders; needs confirmed credentials, and a broker but paper")
    base_currency: str = Field("USD", pattern=r"^[A-Z]{3,5}$")
    same_as_base: Words = Field(("USDT", "USDC"), description="Currencies that count as the base currency")
    day_boundary: str = Field(
        "00:00 UTC", description="When a trading day begins: time and zone, such as 17:00 America/New_York"
    )
    volatility_target: float | None = Field(
        None, gt=0, description="Annualised volatility of a position, fraction of equity; empty: none"
    )
    order_minutes: float = Field(1.0, gt=0, description="A decided order is sent within so much market time")
    lease_seconds: float = Field(
        15.0, ge=2, le=LONGEST_LEASE_SECONDS, description="Without renewal another process may take over"
    )
    heartbeat_seconds: float = Field(30.0, gt=0)
    reconcile_seconds: float = Field(60.0, gt=0, description="Between comparisons with the broker")
    major_discrepancy: Decimal = Field(Decimal(100), gt=0, description="Base currency; beyond it, halted")
    dead_man_seconds: float = Field(
        60.0, gt=0, description="The venue cancels open orders after such silence"
    )
    metrics_host: str = Field("127.0.0.1", description="Beyond loopback whoever reaches it reads the figures")
    metrics_port: Port = 9091
    keep_days: float = Field(
        400.0, ge=31, description="Signals and equity points are kept so long; orders, fills, trades for ever"
    )


class ApiSettings(Section):
    host: str = Field("127.0.0.1", description="Beyond loopback every request needs a token")
    port: Port = 8010
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class MailSettings(Section):
    """Where reports go; without a host they are written to `<home>/mail` alone."""

    host: str | None = None
    port: Port = 587
    user: str | None = None
    password: SecretStr | None = None
    starttls: bool = True
    sender: str = "autotrader@localhost"
    recipients: SomeWords = ()
    keep_days: float = Field(90.0, ge=7, description="Mails that were sent are kept in the folder so long")
    digest_minutes: int = Field(
        60,
        ge=0,
        le=1_440,
        description="Executions are mailed together, once in so much market time; 0: never",
    )


class MonitoringSettings(Section):
    """Drift, and Prometheus with what belongs to it."""

    window_hours: float = Field(24.0, gt=0, description="Served features that drift is looked for in")
    weekly_false_alarms: float = Field(
        0.1,
        gt=0,
        le=5,
        description="Critical drift verdicts a week that may come of chance alone, over all features",
    )
    retrain_on_critical: bool = Field(
        False, description="A critical health verdict triggers training_pipeline"
    )
    prometheus_port: Port = 9090
    prometheus_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+(/\S*)?$",
        description="Where the weekly report asks for service levels, and the delivery of alerts for those "
        "that are over; default this machine's",
    )
    alertmanager_port: Port = 9093
    exporter_port: Port = Field(9092, description="Of what is read from stores: pipelines, features, backups")
    exporter_host: str = Field(
        "127.0.0.1", description="Where the exporter listens; its page asks for no token"
    )
    runbook_url: str = Field(
        "runbooks",
        pattern=r"^\S*[^/\s]$",
        description="What the path of a runbook is added to, such as the URL of the documentation; "
        "default the folder in this checkout",
    )
    profiles: Profiles = Field(
        (), description="Parts that are there beyond the embedded ones: postgres, redis, distributed, node"
    )


class JobSettings(Section):
    """Work that somebody asks for and Airflow runs."""

    tries: int = Field(3, ge=1, le=10, description="Before a job is given up into the dead letters")
    retry_seconds: float = Field(
        60.0, ge=0, description="Before the second try; twice as long before each further one"
    )
    keep_days: float = Field(
        400.0, ge=7, description="Jobs that ended are kept so long, with their tries and dead letters"
    )


class AlertSettings(Section):
    """Who is told of alerts. A channel is set up by its URL or key; the log is always on."""

    alertmanager_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+(/\S*)?$",
        description="Where an Alertmanager runs: it alone groups, routes and repeats, nobody is paged twice",
    )
    critical: ChannelNames = (ChannelName.PAGERDUTY,)
    warning: ChannelNames = (ChannelName.SLACK,)
    info: ChannelNames = (ChannelName.EMAIL,)
    escalation: ChannelNames = Field(
        (ChannelName.SLACK, ChannelName.EMAIL),
        description="Told, too, of a critical alert that nobody acknowledges; a warning goes the way of "
        "critical ones then",
    )
    slack_url: SecretStr | None = Field(None, description="Incoming webhook of Slack, of a channel")
    pagerduty_key: SecretStr | None = Field(None, description="Routing key of Events API v2")
    pagerduty_url: str = "https://events.pagerduty.com"
    opsgenie_key: SecretStr | None = None
    opsgenie_url: str = Field("https://api.opsgenie.com", description="In Europe api.eu.opsgenie.com")
    webhook_url: SecretStr | None = Field(None, description="Of your own; it is sent JSON")
    webhook_token: SecretStr | None = Field(None, description="Bearer token for it")
    timeout_seconds: float = Field(10.0, gt=0, le=20, description="Patience with one message")
    poll_seconds: float = Field(1.0, gt=0, le=10, description="How often there is looked for new ones")
    keep_days: float = Field(
        400.0, ge=7, description="Resolved alerts are kept so long; those of cases for ever"
    )

    @model_validator(mode="after")
    def _routes_name_channels_of_people(self) -> Self:
        for name in ("critical", "warning", "info", "escalation"):
            for channel in getattr(self, name):
                if channel in (ChannelName.LOG, ChannelName.ALERTMANAGER):
                    raise ValueError(
                        f"{PREFIX}ALERTS__{name.upper()}: expected email, slack, pagerduty, opsgenie or "
                        f"webhook, was {channel}: the log is always told, an Alertmanager by its URL"
                    )
        return self


class AwsSettings(Section):
    """Where AWS is used; credentials come from its own default chain, never from here."""

    region: str | None = Field(None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="Such as eu-west-1")
    dr_region: str | None = Field(
        None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="Where a failover goes to"
    )
    prefix: str = Field(
        "autotrader",
        pattern=r"^[a-z0-9][a-z0-9-]{1,40}$",
        description="Bucket names, which are global, begin with it",
    )
    endpoint_url: str | None = Field(None, description="Of a stand-in for AWS; empty is AWS itself")
    timeout_seconds: float = Field(10.0, gt=0, description="Patience with one call")
    attempts: int = Field(4, ge=1, description="Tries of a call that may succeed later")
    hosted_zone: str | None = Field(
        None, description="Domain whose failover records a region failover turns round; empty: none"
    )


class BackupSettings(Section):
    uri: str | None = Field(
        None, description="Folder or s3:// of the backup sets; default a folder beside home, `<home>-backups`"
    )
    keep: int = Field(14, ge=1, description="Newest complete sets that are kept")


class SimulationSettings(Section):
    seed: int = 20240229
    days: int = Field(120, ge=1, le=3650)
    end: Utc = Field(datetime.fromisoformat("2024-03-01T00:00:00+00:00"))
    planted_signal: float = Field(0.0, ge=0, le=1, description="Share of variance that features can explain")


class LogSettings(Section):
    level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    format: str = Field("auto", pattern="^(auto|json|console)$", description="auto: console at a terminal")


class TracingSettings(Section):
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+(/\S*)?$",
        description="Base URL of a collector's OTLP over HTTP, such as http://127.0.0.1:4318; empty: off",
    )


class Settings(BaseSettings):
    """Everything that can be set. Made once per process by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        nested_model_default_partial_update=True,
        env_ignore_empty=True,
    )

    environment: Environment = Environment.DEV
    home: Path = Field(Path(".autotrader"), description="Folder of all local state")
    market_source: MarketSource = Field(
        MarketSource.AUTO, description="auto: Binance if it answers, else recorded, else simulated"
    )
    venues: Venues = Field((Venue.BINANCE,), description="Venues that the pipelines use")
    market_data: Path | None = Field(None, description="Folder of recorded bars, for the stand-in exchange")
    binance: BinanceSettings = BinanceSettings()
    ibkr: IbkrSettings = IbkrSettings()
    oanda: OandaSettings = OandaSettings()
    strategy: StrategySettings = StrategySettings()
    ingestion: IngestionSettings = IngestionSettings()
    training: TrainingSettings = TrainingSettings()
    database: DatabaseSettings = DatabaseSettings()
    lake: LakeSettings = LakeSettings()
    mlflow: MlflowSettings = MlflowSettings()
    airflow: AirflowSettings = AirflowSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    serving: ServingSettings = ServingSettings()
    deployment: DeploymentSettings = DeploymentSettings()
    release: ReleaseSettings = ReleaseSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    trading: TradingSettings = TradingSettings()
    risk: RiskSettings = RiskSettings()
    paper: PaperSettings = PaperSettings()
    api: ApiSettings = ApiSettings()
    mail: MailSettings = MailSettings()
    alerts: AlertSettings = AlertSettings()
    jobs: JobSettings = JobSettings()
    aws: AwsSettings = AwsSettings()
    backup: BackupSettings = BackupSettings()
    clock: ClockSettings = ClockSettings()
    simulation: SimulationSettings = SimulationSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @model_validator(mode="after")
    def _production_has_real_stores(self) -> Self:
        if self.environment is Environment.PRODUCTION:
            for name, value in {
                "DATABASE__URL": self.database.url,
                "DATABASE__LEDGER_URL": self.database.ledger_url,
                "LAKE__URI": self.lake.uri,
                "LAKE__ARCHIVE_URI": self.lake.archive_uri,
                "MLFLOW__TRACKING_URI": self.mlflow.tracking_uri,
            }.items():
                if value is None:
                    raise ValueError(f"{PREFIX}{name}: expected a value in production, was empty")
        return self

    @property
    def database_url(self) -> str:
        given = self.database.url
        return given.get_secret_value() if given else f"sqlite:///{self.home.resolve()}/autotrader.db"

    @property
    def ledger_url(self) -> str:
        """Trials outlive `make clean`: deleting them would make luck look like skill."""
        given = self.database.ledger_url
        return given.get_secret_value() if given else f"sqlite:///{self.home.resolve()}/ledger/trials.db"

    @property
    def lake_uri(self) -> str:
        return self.lake.uri or str(self.home.resolve() / "lake")

    @property
    def archive_uri(self) -> str:
        return self.lake.archive_uri or str(self.home.resolve() / "archive")

    @property
    def staging_uri(self) -> str:
        """Of files between the steps of a data run."""
        return self._shared_by_steps("staging")

    @property
    def training_uri(self) -> str:
        """Of what steps of training runs make, and what of it is kept."""
        return self._shared_by_steps("training")

    def _shared_by_steps(self, name: str) -> str:
        """Under home; beside an S3 lake's tables, for steps on machines that share nothing else."""
        lake = self.lake.uri or ""
        is_local = not lake.startswith("s3://")
        return str(self.home.resolve() / name) if is_local else f"{lake.rstrip('/')}/_{name}"

    @property
    def mlflow_uri(self) -> str:
        return self.mlflow.tracking_uri or f"http://127.0.0.1:{self.mlflow.port}"

    @property
    def backup_uri(self) -> str:
        """Beside home: what deletes a home leaves its backups."""
        home = self.home.resolve()
        return self.backup.uri or str(home.with_name(f"{home.name}-backups"))

    @property
    def airflow_url(self) -> str:
        return self.airflow.url or f"http://127.0.0.1:{self.airflow.port}"

    @property
    def prometheus_url(self) -> str:
        return self.monitoring.prometheus_url or f"http://127.0.0.1:{self.monitoring.prometheus_port}"

    @property
    def alertmanager_url(self) -> str:
        """Where one is looked for; whether it tells people is `alerts.alertmanager_url`."""
        return self.alerts.alertmanager_url or f"http://127.0.0.1:{self.monitoring.alertmanager_port}"

    def instruments(self) -> tuple[InstrumentId, ...]:
        """All instruments of the venues in use, in order of venue and setting."""
        symbols = {
            Venue.BINANCE: self.binance.instruments,
            Venue.IBKR: self.ibkr.instruments,
            Venue.OANDA: self.oanda.instruments,
        }
        return tuple(InstrumentId(v, s) for v in self.venues for s in symbols[v])

    def publication_latency_seconds(self, venue: Venue) -> float:
        section: BinanceSettings | IbkrSettings | OandaSettings = getattr(self, venue.value)
        return section.publication_latency_seconds


def load_settings(*, of_stack: bool = True) -> Settings:
    """Read and check the settings.

    Parameters
    ----------
    of_stack : bool
        Whether to read what the local stack wrote of itself (`<home>/runtime.env`), too.

    Raises
    ------
    ConfigurationError
        Naming every variable that is wrong and what was expected; values are not repeated, since
        one of them could be a secret.
    """
    home = Path(
        os.environ.get(f"{PREFIX}HOME") or dotenv_values(".env").get(f"{PREFIX}HOME") or ".autotrader"
    )
    files = (home / RUNTIME_FILE, Path(".env")) if of_stack else (Path(".env"),)
    try:
        return Settings(_env_file=files)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_lines(error))) from None
    except SettingsError as error:  # a whole section that is given as JSON, and is none
        section = re.search(r'field "(\w+)"', str(error))
        name = f"{PREFIX}{section.group(1).upper()}" if section else f"{PREFIX}..."
        raise ConfigurationError(f"{name}: expected JSON, was something else") from None


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for detail in error.errors(include_input=False, include_url=False):
        name = PREFIX + "__".join(str(part).upper() for part in detail["loc"] if not isinstance(part, int))
        message = detail["msg"].removeprefix("Value error, ")
        lines.append(message if message.startswith(PREFIX) else f"{name}: {message}")
    return lines
