"""Every metric that a rule, a panel or a runbook may name, and who exports it.

A dashboard or rule that names anything else fails the check, and so does a process whose page and this
list differ. Names are as Prometheus shows them: a counter's ends in `_total`, a histogram has the
series `_bucket`, `_sum` and `_count`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the series that a metric of this kind has."""
        return ("_bucket", "_sum", "_count") if self is Kind.HISTOGRAM else ("",)


class Unit(StrEnum):
    """Base units alone: whoever wants milliseconds or percent scales, where it is shown."""

    NONE = ""
    SECONDS = "seconds"
    TIMESTAMP = "seconds since 1970"
    BYTES = "bytes"
    RATIO = "ratio"
    PERCENT = "percent"  # where the contract's name says so
    MONEY = "base currency"
    UNITS = "units of the instrument"


class Process(StrEnum):
    """Whose page it is on."""

    SERVING = "serving"
    API = "api"
    TRADER = "trader"
    EXPORTER = "exporter"
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    NODE = "node"
    POSTGRES = "postgres"
    REDIS = "redis"


class Profile(StrEnum):
    """A part that is not there on the embedded default; what needs it is absent then, not broken."""

    POSTGRES = "postgres"
    REDIS = "redis"
    DISTRIBUTED = "distributed"  # workers on Celery
    CACHE = "cache"


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured.

    Attributes
    ----------
    name : str
    kind : Kind
    processes : tuple of Process
        That export it.
    help : str
    labels : tuple of str
        Those of the page; Prometheus adds `job`, `instance` and, to ours, `service`.
    unit : Unit
    profile : Profile or None
        Without which nobody exports it.
    """

    name: str
    kind: Kind
    processes: tuple[Process, ...]
    help: str
    labels: tuple[str, ...] = ()
    unit: Unit = Unit.NONE
    profile: Profile | None = None

    @property
    def series(self) -> tuple[str, ...]:
        """Names that a query may use."""
        return tuple(self.name + suffix for suffix in self.kind.suffixes)


def _metric(
    kind: Kind,
    name: str,
    *processes: Process,
    text: str,
    labels: str = "",
    unit: Unit = Unit.NONE,
    profile: Profile | None = None,
) -> Metric:
    return Metric(name, kind, processes, text, tuple(labels.split()), unit, profile)


_counter = partial(_metric, Kind.COUNTER)
_gauge = partial(_metric, Kind.GAUGE)
_histogram = partial(_metric, Kind.HISTOGRAM)

_ALL = (Process.SERVING, Process.API, Process.TRADER, Process.EXPORTER)
_HTTP = (Process.SERVING, Process.API)

_PROCESSES = (
    _counter("process_cpu_seconds_total", *_ALL, text="Processor time", unit=Unit.SECONDS),
    _gauge("process_resident_memory_bytes", *_ALL, text="Memory in use", unit=Unit.BYTES),
    _gauge("process_virtual_memory_bytes", *_ALL, text="Address space", unit=Unit.BYTES),
    _gauge("process_open_fds", *_ALL, text="Open files"),
    _gauge("process_max_fds", *_ALL, text="Files that may be open"),
    _gauge("process_threads", *_ALL, text="Threads"),
    _gauge("process_start_time_seconds", *_ALL, text="When it was started", unit=Unit.TIMESTAMP),
)

_HTTP_METRICS = (
    _counter("http_requests_total", *_HTTP, text="Answered requests", labels="method endpoint status"),
    _histogram(
        "http_request_duration_seconds",
        *_HTTP,
        text="From a request's head to its answer",
        labels="method endpoint",
        unit=Unit.SECONDS,
    ),
    _gauge("http_requests_in_progress", *_HTTP, text="Requests under way"),
    _gauge("stream_clients", Process.API, text="Open streams"),
    _counter("stream_messages_total", Process.API, text="Published to the streams"),
    _counter("stream_dropped_clients_total", Process.API, text="Clients that did not keep up"),
    _counter(
        "stream_poll_failures_total", Process.API, text="Times that what is new could not be read for them"
    ),
    _histogram(
        "database_query_duration_seconds",
        Process.API,
        Process.EXPORTER,
        text="Statements, from their start to their first row; what the platform waits for its database",
        labels="operation",
        unit=Unit.SECONDS,
    ),
)

_MODEL = (
    _counter("predictions_total", Process.SERVING, text="Rows that were predicted"),
    _histogram(
        "model_prediction_confidence",
        Process.SERVING,
        Process.TRADER,
        text="Probability of the likeliest class",
        unit=Unit.RATIO,
    ),
    _gauge(
        "model_info",
        Process.SERVING,
        text="1; its labels say what is served",
        labels="name version onnx_sha256 feature_set color",
    ),
    _counter("model_errors_total", Process.SERVING, text="Requests that the model failed to answer"),
    _counter(
        "prediction_log_failures_total",
        Process.SERVING,
        text="Requests turned away: they could not be logged",
    ),
    _counter(
        "prediction_log_bytes_total",
        Process.SERVING,
        text="Written to the log of predictions",
        unit=Unit.BYTES,
    ),
)

_TRADING = (
    _gauge("trading_portfolio_value", Process.TRADER, text="Equity", unit=Unit.MONEY),
    _gauge(
        "trading_pnl_total", Process.TRADER, text="Equity less what the account began with", unit=Unit.MONEY
    ),
    _gauge(
        "trading_daily_pnl",
        Process.TRADER,
        text="Equity less what the trading day began with",
        unit=Unit.MONEY,
    ),
    _gauge(
        "trading_realised_pnl",
        Process.TRADER,
        text="Of what was closed since the account began, after fees; absent without a rate",
        labels="instrument",
        unit=Unit.MONEY,
    ),
    _gauge("trading_total_trades", Process.TRADER, text="Closed trades of 30 days"),
    _gauge("trading_winning_trades", Process.TRADER, text="Those of them that earned"),
    _gauge(
        "trading_gross_profit",
        Process.TRADER,
        text="What they earned; absent without a rate",
        unit=Unit.MONEY,
    ),
    _gauge(
        "trading_gross_loss",
        Process.TRADER,
        text="What the others lost; absent without a rate",
        unit=Unit.MONEY,
    ),
    _gauge("trading_sharpe_ratio", Process.TRADER, text="Annualised, of 30 days; absent while too short"),
    _gauge("trading_max_drawdown_percent", Process.TRADER, text="Of 30 days", unit=Unit.PERCENT),
    _gauge(
        "trading_risk_var_95", Process.TRADER, text="One day, as a fraction of the equity", unit=Unit.RATIO
    ),
    _gauge(
        "trading_circuit_breaker_active",
        Process.TRADER,
        Process.EXPORTER,
        text="1 while the circuit breaker halts the account",
    ),
    _gauge("trading_active_positions", Process.TRADER, text="Instruments that are held"),
    _gauge("trading_position_size", Process.TRADER, text="Units held", labels="instrument", unit=Unit.UNITS),
    _counter("trading_signals_total", Process.TRADER, text="Bars for which there was a prediction"),
    _histogram(
        "trading_order_latency_seconds",
        Process.TRADER,
        text="From a closed bar's arrival to the hand-over of its order",
        unit=Unit.SECONDS,
    ),
    _gauge(
        "trading_position_mismatches",
        Process.EXPORTER,
        text="Differences from what the broker says that nobody has resolved, by kind; 0 where there is none",
        labels="kind",
    ),
)

_FEATURES = (
    _gauge(
        "feature_psi",
        Process.EXPORTER,
        text="Population stability index, of the newest health check",
        labels="feature",
    ),
    _gauge(
        "feature_drift_verdict",
        Process.EXPORTER,
        text="What that check made of it, chance considered: 0 none, 1 warning, 2 critical",
        labels="feature",
    ),
    _gauge(
        "feature_missing_ratio",
        Process.EXPORTER,
        text="Served rows without a value, of the newest health check",
        labels="feature",
        unit=Unit.RATIO,
    ),
    _gauge(
        "feature_freshness_seconds",
        Process.EXPORTER,
        text="How far the newest row is behind the market clock, while the market is open",
        labels="instrument",
        unit=Unit.SECONDS,
    ),
    _gauge(
        "feature_overdue_seconds",
        Process.EXPORTER,
        text="How far the newest row is behind what the last data run that must have ended was due to bring",
        labels="instrument",
        unit=Unit.SECONDS,
    ),
    _gauge(
        "feature_check_timestamp_seconds",
        Process.EXPORTER,
        text="When that health check was made",
        unit=Unit.TIMESTAMP,
    ),
    _gauge(
        "bars_freshness_seconds",
        Process.EXPORTER,
        text="How far the newest stored bar is behind the market clock, while the market is open",
        labels="instrument",
        unit=Unit.SECONDS,
    ),
    _gauge(
        "bars_missing_ratio",
        Process.EXPORTER,
        text="Bars that the calendar expects and the newest check did not find",
        labels="instrument",
        unit=Unit.RATIO,
    ),
    _gauge(
        "bars_quarantined_ratio",
        Process.EXPORTER,
        text="Bars that the newest check refused, such as spikes",
        labels="instrument",
        unit=Unit.RATIO,
    ),
)

_PIPELINES = (
    _gauge(
        "pipeline_last_success_timestamp_seconds",
        Process.EXPORTER,
        text="End of the newest run that succeeded",
        labels="dag_id",
        unit=Unit.TIMESTAMP,
    ),
    _gauge(
        "pipeline_consecutive_failures",
        Process.EXPORTER,
        text="Runs that failed since the last one that succeeded",
        labels="dag_id",
    ),
    _counter("pipeline_runs_total", Process.EXPORTER, text="Runs that ended", labels="dag_id state"),
    _gauge(
        "pipeline_task_duration_seconds",
        Process.EXPORTER,
        text="Of the newest run that ended",
        labels="dag_id task_id",
        unit=Unit.SECONDS,
    ),
    _counter(
        "pipeline_task_failures_total", Process.EXPORTER, text="Tries that failed", labels="dag_id task_id"
    ),
    _gauge(
        "pipeline_runs_active",
        Process.EXPORTER,
        text="Runs that are queued or under way",
        labels="dag_id state",
    ),
    _counter(
        "ingestion_rows_total",
        Process.EXPORTER,
        text="Bars that were stored since the exporter began",
        labels="venue",
    ),
    _gauge(
        "ingestion_latency_seconds",
        Process.EXPORTER,
        text="From a bar's close until it was stored, of the newest load",
        labels="venue",
        unit=Unit.SECONDS,
    ),
    _counter(
        "connector_errors_total",
        Process.EXPORTER,
        text="Tries to load from a venue that failed, of runs that ended since the exporter began",
        labels="venue",
    ),
    _counter(
        "websocket_reconnects_total", Process.TRADER, text="Streams that were opened anew", labels="venue"
    ),
)

_DEPLOYMENT = (
    _gauge(
        "deployment_active_color",
        Process.EXPORTER,
        text="1 for the stable colour, 0 for the other",
        labels="color",
    ),
    _gauge(
        "deployment_stage",
        Process.EXPORTER,
        text="1 for the stage of the rollout under way, 0 for the others",
        labels="stage",
    ),
    _counter("deployment_rollbacks_total", Process.EXPORTER, text="Rollouts taken back", labels="reason"),
    _gauge(
        "deployment_last_failure_timestamp_seconds",
        Process.EXPORTER,
        text="When a rollout was last taken back, or a run of deployment_pipeline failed",
        unit=Unit.TIMESTAMP,
    ),
    _gauge(
        "service_expected",
        Process.EXPORTER,
        text="1 where a service is to run: it was started and not stopped, or ECS wants a task of it; else 0",
        labels="service",
    ),
)

_JOBS = (
    _gauge(
        "queue_length",
        Process.EXPORTER,
        text="Task instances that wait for a worker, by queue; in the queue `jobs`, jobs that wait for a run",
        labels="queue",
    ),
    _counter("job_submissions_total", Process.EXPORTER, text="Jobs that were asked for", labels="type"),
    _counter("job_retries_total", Process.EXPORTER, text="Tries beyond the first", labels="type"),
    _counter(
        "job_dlq_moves_total", Process.EXPORTER, text="Jobs given up into the dead letters", labels="type"
    ),
    _gauge("job_dlq_length", Process.EXPORTER, text="Dead letters that nobody has requeued", labels="type"),
    _gauge(
        "job_oldest_running_seconds",
        Process.EXPORTER,
        text="How long the oldest job under way has run; 0 where there is none",
        labels="type",
        unit=Unit.SECONDS,
    ),
    _counter("worker_jobs_processed_total", Process.EXPORTER, text="Jobs that ended", labels="type status"),
    _histogram(
        "worker_job_duration_seconds",
        Process.EXPORTER,
        text="Of tries that ended, from their beginning on",
        labels="type",
        unit=Unit.SECONDS,
    ),
    _counter("worker_errors_total", Process.EXPORTER, text="Tries that failed", labels="type"),
    _gauge(
        "worker_active",
        Process.EXPORTER,
        text="Tasks that it works on",
        labels="worker",
        profile=Profile.DISTRIBUTED,
    ),
    _gauge(
        "worker_heartbeat_timestamp",
        Process.EXPORTER,
        text="When it was last heard of",
        labels="worker",
        unit=Unit.TIMESTAMP,
        profile=Profile.DISTRIBUTED,
    ),
    _gauge(
        "worker_memory_bytes",
        Process.EXPORTER,
        text="Memory in use, of it and all that it started, as it tells itself",
        labels="worker",
        unit=Unit.BYTES,
        profile=Profile.DISTRIBUTED,
    ),
    _gauge(
        "worker_cpu_percent",
        Process.EXPORTER,
        text="Of one processor, of it and all that it started, as it tells itself",
        labels="worker",
        unit=Unit.PERCENT,
        profile=Profile.DISTRIBUTED,
    ),
    _counter(
        "redis_operations_total",
        Process.EXPORTER,
        text="Calls of ours, the exporter's: it asks workers through it, and nobody else uses it directly",
        labels="operation status",
        profile=Profile.DISTRIBUTED,
    ),
)

_OPERATIONS = (
    _gauge(
        "component_health",
        Process.API,
        Process.EXPORTER,
        text="1 healthy, 0.5 degraded, 0 unhealthy; absent while unknown",
        labels="component",
    ),
    _gauge(
        "component_check_seconds",
        Process.EXPORTER,
        text="How long the newest check of the component took; absent where it did not end",
        labels="component",
        unit=Unit.SECONDS,
    ),
    _gauge(
        "exporter_source_up",
        Process.EXPORTER,
        text="1 where what the exporter reads from answers; else the metrics of that source are absent",
        labels="source",
    ),
    _gauge(
        "exporter_source_seconds",
        Process.EXPORTER,
        text="How long the newest look at the source took",
        labels="source",
        unit=Unit.SECONDS,
    ),
    _gauge(
        "exporter_source_last_success_timestamp_seconds",
        Process.EXPORTER,
        text="When the source last answered",
        labels="source",
        unit=Unit.TIMESTAMP,
    ),
    _gauge(
        "exporter_series_left_out",
        Process.EXPORTER,
        text="Series beyond the bound, or with the same labels as another; absent where there are none",
        labels="metric",
    ),
    _gauge(
        "backup_last_success_timestamp_seconds",
        Process.EXPORTER,
        text="When the newest complete backup set was made; absent while there is none",
        unit=Unit.TIMESTAMP,
    ),
    _gauge(
        "backup_awaited_since_timestamp_seconds",
        Process.EXPORTER,
        text="When the first event was recorded, while there is no complete backup set",
        unit=Unit.TIMESTAMP,
    ),
    _counter(
        "alerts_sent_total", Process.EXPORTER, text="Alerts that were delivered", labels="channel severity"
    ),
    _counter("alerts_failed_total", Process.EXPORTER, text="Deliveries that were given up", labels="channel"),
    _counter(
        "alerts_suppressed_total", Process.EXPORTER, text="Alerts kept back as repeats", labels="severity"
    ),
)

METRICS: tuple[Metric, ...] = (
    *_HTTP_METRICS,
    *_MODEL,
    *_TRADING,
    *_FEATURES,
    *_PIPELINES,
    *_DEPLOYMENT,
    *_JOBS,
    *_OPERATIONS,
    *_PROCESSES,
)

# What rules and panels take from exporters that are not ours.
_SCRAPED = (
    Process.SERVING,
    Process.API,
    Process.TRADER,
    Process.EXPORTER,
    Process.NODE,
    Process.POSTGRES,
    Process.REDIS,
    Process.ALERTMANAGER,
    Process.PROMETHEUS,
)
EXPORTER_METRICS: tuple[Metric, ...] = (
    _gauge("up", *_SCRAPED, text="1 where the page was read, by Prometheus itself"),
    _gauge(
        "ALERTS", Process.PROMETHEUS, text="1 while it is pending or fires", labels="alertname alertstate"
    ),
    _counter(
        "prometheus_rule_evaluation_failures_total", Process.PROMETHEUS, text="Rules that could not be read"
    ),
    _counter(
        "prometheus_notifications_dropped_total", Process.PROMETHEUS, text="Alerts that no Alertmanager took"
    ),
    _counter(
        "alertmanager_notifications_total",
        Process.ALERTMANAGER,
        text="Notices that were sent",
        labels="integration",
    ),
    _counter(
        "alertmanager_notifications_failed_total",
        Process.ALERTMANAGER,
        text="Those of them that failed",
        labels="integration",
    ),
    _counter(
        "node_cpu_seconds_total", Process.NODE, text="Processor time", labels="cpu mode", unit=Unit.SECONDS
    ),
    _gauge("node_load1", Process.NODE, text="Load of a minute"),
    _gauge("node_memory_MemAvailable_bytes", Process.NODE, text="Memory to be had", unit=Unit.BYTES),
    _gauge("node_memory_MemTotal_bytes", Process.NODE, text="Memory", unit=Unit.BYTES),
    _gauge(
        "node_filesystem_avail_bytes",
        Process.NODE,
        text="Free for us",
        labels="device fstype mountpoint",
        unit=Unit.BYTES,
    ),
    _gauge(
        "node_filesystem_size_bytes",
        Process.NODE,
        text="Of the file system",
        labels="device fstype mountpoint",
        unit=Unit.BYTES,
    ),
    _counter("node_disk_read_bytes_total", Process.NODE, text="Read", labels="device", unit=Unit.BYTES),
    _counter("node_disk_written_bytes_total", Process.NODE, text="Written", labels="device", unit=Unit.BYTES),
    _counter(
        "node_network_receive_bytes_total", Process.NODE, text="Received", labels="device", unit=Unit.BYTES
    ),
    _counter(
        "node_network_transmit_bytes_total", Process.NODE, text="Sent", labels="device", unit=Unit.BYTES
    ),
    _gauge("pg_up", Process.POSTGRES, text="1 where PostgreSQL answers", profile=Profile.POSTGRES),
    _gauge(
        "pg_stat_activity_count",
        Process.POSTGRES,
        text="Connections",
        labels="datname state",
        profile=Profile.POSTGRES,
    ),
    _gauge(
        "pg_settings_max_connections",
        Process.POSTGRES,
        text="Connections that may be",
        profile=Profile.POSTGRES,
    ),
    _gauge(
        "pg_database_size_bytes",
        Process.POSTGRES,
        text="Of a database",
        labels="datname",
        unit=Unit.BYTES,
        profile=Profile.POSTGRES,
    ),
    _gauge("redis_up", Process.REDIS, text="1 where Redis answers", profile=Profile.REDIS),
    _gauge("redis_connected_clients", Process.REDIS, text="Connections", profile=Profile.REDIS),
    _gauge("redis_memory_used_bytes", Process.REDIS, text="In use", unit=Unit.BYTES, profile=Profile.REDIS),
    _gauge(
        "redis_memory_max_bytes",
        Process.REDIS,
        text="That it may use; 0 is no limit",
        unit=Unit.BYTES,
        profile=Profile.REDIS,
    ),
    _counter("redis_commands_processed_total", Process.REDIS, text="Commands", profile=Profile.REDIS),
)
