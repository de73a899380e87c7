"""Every alert that Prometheus raises: what it is, from when on, whom it concerns.

The rule files, their tests, the list of runbooks and the catalogue in the documentation come from here;
the numbers come from `domain/thresholds.py`. An alert has a page, `runbooks/alerts/<name>.md`. Alerts of
the application's own (a model was promoted, a trade executed) are raised by it, and are no rules. Where it
raises one of a rule's name, the rule yields no label `service`, as it has none: they are one group of
Alertmanager's then, one incident that lasts until both are over.

Summaries are Prometheus templates: each holds `$value`, in the unit that a person reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from autotrader.domain.alerts import Severity
from autotrader.domain.metrics import Profile
from autotrader.domain.service_levels import ASKED, burns, promql_duration
from autotrader.domain.thresholds import (
    ALERTS,
    API,
    CANARY,
    DATA_QUALITY,
    DRIFT,
    MODEL_PERFORMANCE,
    SERVICE_LEVELS,
)

RUNBOOKS = "alerts"  # below the setting `monitoring.runbook_url`


class Shown(StrEnum):
    """How a summary shows `$value`; the value itself is in base units."""

    NUMBER = '{{ printf "%.4g" $value }}'
    SHARE = "{{ $value | humanizePercentage }}"
    SECONDS = "{{ $value | humanizeDuration }}"


class Group(StrEnum):
    """The file that a rule is in."""

    SERVICES = "services"
    DATA_AND_MODELS = "data_and_models"
    TRADING = "trading"
    JOBS = "jobs"
    MACHINE = "machine"
    POSTGRES = "postgres"
    REDIS = "redis"
    DISTRIBUTED = "distributed"
    SERVICE_LEVELS = "service_levels"

    @property
    def profile(self) -> Profile | None:
        """Without which its rules are absent."""
        return Profile(self.value) if self.value in set(Profile) else None


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One rule.

    Attributes
    ----------
    name : str
        Also of its page. Two rules of one name differ in severity.
    severity : Severity
    group : Group
    expression : str
        PromQL; it yields a row for each thing that is wrong.
    summary : str
        One sentence; `{value}` stands for the number.
    shown : Shown
        How the number is written.
    hold : timedelta
        The rule's `for`.
    keep_firing : timedelta
        The rule's `keep_firing_for`: so long it goes on while its expression yields nothing.
    labels : Mapping
        Beside `severity`.
    """

    name: str
    severity: Severity
    group: Group
    expression: str
    summary: str
    shown: Shown = Shown.NUMBER
    hold: timedelta = timedelta(0)
    keep_firing: timedelta = timedelta(0)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def runbook(self) -> str:
        """Path of its page, below the setting's base."""
        return f"{RUNBOOKS}/{self.name}.md"

    @property
    def template(self) -> str:
        """The summary as Prometheus fills it in."""
        return self.summary.replace("{value}", self.shown)


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While the source fires, the targets tell nobody anything new.

    Attributes
    ----------
    source, targets : tuple of str
        Matchers, such as `alertname="ServiceDown"`.
    equal : tuple of str
        Labels that must be the same.
    """

    source: tuple[str, ...]
    targets: tuple[str, ...]
    equal: tuple[str, ...] = ()


_RATE = promql_duration(ALERTS.rate_window)
_JOBS = promql_duration(ALERTS.job_window)
_COUNT = promql_duration(ALERTS.count_window)


def _quantile(q: float, metric: str, matchers: str, window: str, by: str) -> str:
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{matchers}}}[{window}])))"


_SERVICES = (
    AlertRule(
        "SystemDown",
        Severity.CRITICAL,
        Group.SERVICES,
        'sum(up{service!=""}) == 0',
        f"{{value}} services of the platform have answered for {promql_duration(ALERTS.system_down)}",
        hold=ALERTS.system_down,
    ),
    AlertRule(
        "ServiceDown",
        Severity.CRITICAL,
        Group.SERVICES,
        # Whether the others are to run is known to the exporter, and remembered while it is away.
        'up{service=~"api|exporter"} == 0 or (up{service!="",service!~"api|exporter"} == 0'
        f" and on (service) last_over_time(service_expected[{_COUNT}]) == 1)",
        f"{{{{ $labels.service }}}} has not answered for {promql_duration(ALERTS.service_down)}:"
        " up is {value}",
        hold=ALERTS.service_down,
    ),
    AlertRule(
        "HighErrorRate",
        Severity.CRITICAL,
        Group.SERVICES,
        f'sum by (service) (rate(http_requests_total{{{ASKED},status=~"5.."}}[{_RATE}]))'
        f" / sum by (service) (rate(http_requests_total{{{ASKED}}}[{_RATE}])) > {CANARY.error_rate}",
        f"{{{{ $labels.service }}}} fails {{value}} of its requests, more than {CANARY.error_rate:.0%}",
        Shown.SHARE,
        ALERTS.error_rate,
    ),
    AlertRule(
        "ComponentUnhealthy",
        Severity.CRITICAL,
        Group.SERVICES,
        "min by (component) (component_health) == 0",
        "{{ $labels.component }} is unhealthy: its health is {value}, where 1 is healthy",
        hold=ALERTS.component_unhealthy,
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "BackupMissing",
        Severity.CRITICAL,
        Group.SERVICES,
        f"time() - backup_last_success_timestamp_seconds > {ALERTS.backup_age.total_seconds():.0f}"
        # Where there never was one. Both are of one look: while the database is away, neither is there.
        " or time() - backup_awaited_since_timestamp_seconds"
        f" > {ALERTS.backup_age.total_seconds():.0f}",
        f"The newest backup is {{value}} old, or there was none in that time;"
        f" there should be one every {promql_duration(ALERTS.backup_age)}",
        Shown.SECONDS,
        ALERTS.backup_missing,
        ALERTS.source_away,
    ),
    AlertRule(
        "HighLatency",
        Severity.WARNING,
        Group.SERVICES,
        _quantile(
            0.99,
            "http_request_duration_seconds",
            'service=~"prediction-.+",endpoint="/predict"',
            _RATE,
            "service",
        )
        + f" > {CANARY.latency_seconds}",
        "{{ $labels.service }} answers in {value} at its p99,"
        f" longer than {CANARY.latency_seconds * 1000:.0f} ms",
        Shown.SECONDS,
        ALERTS.latency,
    ),
    AlertRule(
        "HighAPILatency",
        Severity.WARNING,
        Group.SERVICES,
        _quantile(
            0.95,
            "http_request_duration_seconds",
            'service="api",endpoint!~"/health|/metrics"',
            _RATE,
            "service",
        )
        + f" > {ALERTS.api_p95_seconds:g}",
        f"The API answers in {{value}} at its p95, longer than {ALERTS.api_p95_seconds:g} s",
        Shown.SECONDS,
        ALERTS.latency,
    ),
    AlertRule(
        "SlowQueries",
        Severity.WARNING,
        Group.SERVICES,
        _quantile(0.95, "database_query_duration_seconds", "", _RATE, "service")
        + f" > {ALERTS.query_p95_seconds:g}",
        "{{ $labels.service }} waits {value} for its database at the p95,"
        f" longer than {ALERTS.query_p95_seconds:g} s",
        Shown.SECONDS,
        ALERTS.latency,
    ),
    AlertRule(
        "HighAPIRequestRate",
        Severity.INFO,
        Group.SERVICES,
        f'sum by (service) (rate(http_requests_total{{service="api"}}[{_RATE}]))'
        f" > {ALERTS.api_requests_per_second:g}",
        f"The API is asked {{value}} times a second, more than {ALERTS.api_requests_per_second:g}",
        hold=ALERTS.saturation,
    ),
)

_DATA_AND_MODELS = (
    AlertRule(
        "DataPipelineFailure",
        Severity.CRITICAL,
        Group.DATA_AND_MODELS,
        f'pipeline_consecutive_failures{{dag_id="data_pipeline"}} >= {ALERTS.pipeline_failures}',
        "{{ $labels.dag_id }} failed {value} times in a row",
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "ModelDeploymentFailure",
        Severity.CRITICAL,
        Group.DATA_AND_MODELS,
        "time() - max(deployment_last_failure_timestamp_seconds)"
        f" < {ALERTS.deployment_failure.total_seconds():.0f}",
        "A deployment failed {value} ago; predictions are those of the version before",
        Shown.SECONDS,
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "CriticalFeatureDrift",
        Severity.CRITICAL,
        Group.DATA_AND_MODELS,
        f"feature_psi > {DRIFT.psi_critical} and on (feature) feature_drift_verdict >= 2",
        f"{{{{ $labels.feature }}}} has a PSI of {{value}}, above {DRIFT.psi_critical} and beyond chance",
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "FeatureDriftWarning",
        Severity.WARNING,
        Group.DATA_AND_MODELS,
        f"feature_psi > {DRIFT.psi_warning} and on (feature) feature_drift_verdict >= 1",
        f"{{{{ $labels.feature }}}} has a PSI of {{value}}, above {DRIFT.psi_warning}",
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "DataQualityIssues",
        Severity.WARNING,
        Group.DATA_AND_MODELS,
        f"bars_missing_ratio > {DATA_QUALITY.missing_share_warning}"
        f" or bars_quarantined_ratio > {DATA_QUALITY.quarantined_share_warning:g}"
        f" or feature_missing_ratio > {DATA_QUALITY.missing_share_warning}",
        "{{ with $labels.instrument }}{{ . }}{{ else }}{{ $labels.feature }}{{ end }}: {value} is missing"
        f" (more than {DATA_QUALITY.missing_share_warning:.0%} warns) or was refused as an outlier",
        Shown.SHARE,
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "LowConfidence",
        Severity.WARNING,
        Group.DATA_AND_MODELS,
        f'sum(rate(model_prediction_confidence_sum{{service="trader"}}[{_JOBS}]))'
        f' / sum(rate(model_prediction_confidence_count{{service="trader"}}[{_JOBS}]))'
        f" < {MODEL_PERFORMANCE.mean_confidence}",
        "The model is {value} sure of its predictions on average,"
        f" less than {MODEL_PERFORMANCE.mean_confidence:.0%}",
        Shown.SHARE,
        ALERTS.low_confidence,
    ),
)

_TRADING = (
    AlertRule(
        "CircuitBreakerTripped",
        Severity.CRITICAL,
        Group.TRADING,
        # The trader tells of it at once, the exporter while the trader is away, too.
        "max(trading_circuit_breaker_active) > 0",
        "The circuit breaker halts trading (it is at {value}): a person must resume it",
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "PositionMismatch",
        Severity.CRITICAL,
        Group.TRADING,
        "max by (kind) (trading_position_mismatches) > 0",
        "{value} differences from the broker ({{ $labels.kind }}) wait for a person",
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "LowWinRate",
        Severity.WARNING,
        Group.TRADING,
        f"trading_winning_trades / trading_total_trades < {ALERTS.win_rate}",
        f"{{value}} of the trades of 30 days earned, less than {ALERTS.win_rate:.0%}",
        Shown.SHARE,
        ALERTS.low_win_rate,
        ALERTS.source_away,
    ),
)

_JOB_RULES = (
    AlertRule(
        "WorkerQueueBacklog",
        Severity.WARNING,
        Group.JOBS,
        f"sum by (queue) (queue_length) > {ALERTS.queue_length}",
        f"{{value}} tasks wait in {{{{ $labels.queue }}}}, more than {ALERTS.queue_length}",
        hold=ALERTS.saturation,
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "HighJobFailureRate",
        Severity.WARNING,
        Group.JOBS,
        f'sum(rate(worker_jobs_processed_total{{status="failed"}}[{_JOBS}]))'
        f" / sum(rate(worker_jobs_processed_total[{_JOBS}])) > {ALERTS.job_failure_share}",
        f"{{value}} of the jobs failed, more than {ALERTS.job_failure_share:.0%}",
        Shown.SHARE,
        ALERTS.job_failures,
    ),
    AlertRule(
        "DeadLetterQueueGrowing",
        Severity.WARNING,
        Group.JOBS,
        f"sum(increase(job_dlq_moves_total[{_COUNT}])) > {ALERTS.dead_letters}",
        f"{{value}} jobs became dead letters within {_COUNT}, more than {ALERTS.dead_letters}",
    ),
    AlertRule(
        "BacktestTakingTooLong",
        Severity.WARNING,
        Group.JOBS,
        f'job_oldest_running_seconds{{type="backtest"}} > {ALERTS.backtest_seconds:g}',
        f"A backtest has run for {{value}}, longer than {ALERTS.backtest_seconds:g} s",
        Shown.SECONDS,
        keep_firing=ALERTS.source_away,
    ),
    AlertRule(
        "HighBacktestFailureRate",
        Severity.WARNING,
        Group.JOBS,
        f'sum(rate(worker_jobs_processed_total{{type="backtest",status="failed"}}[{_JOBS}]))'
        f' / sum(rate(worker_jobs_processed_total{{type="backtest"}}[{_JOBS}]))'
        f" > {ALERTS.backtest_failure_share}",
        f"{{value}} of the backtests failed, more than {ALERTS.backtest_failure_share:.0%}",
        Shown.SHARE,
    ),
)

_DISKS = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660"'
_MACHINE = (
    AlertRule(
        "HighCPUUsage",
        Severity.WARNING,
        Group.MACHINE,
        f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}[{_RATE}])) > {ALERTS.cpu}',
        f"{{value}} of the processors' time is used, more than {ALERTS.cpu:.0%}",
        Shown.SHARE,
        ALERTS.saturation,
    ),
    AlertRule(
        "HighMemoryUsage",
        Severity.WARNING,
        Group.MACHINE,
        f"1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes > {ALERTS.memory}",
        f"{{value}} of the memory is used, more than {ALERTS.memory:.0%}",
        Shown.SHARE,
        ALERTS.saturation,
    ),
    AlertRule(
        "DiskSpaceLow",
        Severity.WARNING,
        Group.MACHINE,
        f"node_filesystem_avail_bytes{{{_DISKS}}} / node_filesystem_size_bytes{{{_DISKS}}}"
        f" < {API.free_disk_share}",
        f"{{value}} of {{{{ $labels.mountpoint }}}} is free, less than {API.free_disk_share:.0%}",
        Shown.SHARE,
        ALERTS.saturation,
    ),
)

_CONNECTIONS = "sum by (instance) (pg_stat_activity_count) / max by (instance) (pg_settings_max_connections)"
_PROFILES = (
    AlertRule(
        "PostgresDown",
        Severity.CRITICAL,
        Group.POSTGRES,
        'pg_up == 0 or up{job="postgres"} == 0',
        "PostgreSQL at {{ $labels.instance }} does not answer: up is {value}",
        hold=ALERTS.exporter_silence,
    ),
    AlertRule(
        "DatabaseConnectionsExhausted",
        Severity.CRITICAL,
        Group.POSTGRES,
        f"{_CONNECTIONS} > {ALERTS.connections_critical}",
        f"{{value}} of PostgreSQL's connections are taken, more than {ALERTS.connections_critical:.0%}",
        Shown.SHARE,
        ALERTS.exporter_silence,
    ),
    AlertRule(
        "HighDatabaseConnections",
        Severity.WARNING,
        Group.POSTGRES,
        f"{_CONNECTIONS} > {ALERTS.connections_warning}",
        f"{{value}} of PostgreSQL's connections are taken, more than {ALERTS.connections_warning:.0%}",
        Shown.SHARE,
        ALERTS.saturation,
    ),
    AlertRule(
        "RedisDown",
        Severity.CRITICAL,
        Group.REDIS,
        'redis_up == 0 or up{job="redis"} == 0',
        "Redis at {{ $labels.instance }} does not answer: up is {value}",
        hold=ALERTS.exporter_silence,
    ),
    AlertRule(
        "RedisMemoryHigh",
        Severity.WARNING,
        Group.REDIS,
        f"redis_memory_used_bytes / (redis_memory_max_bytes > 0) > {ALERTS.redis_memory}",
        f"{{value}} of Redis' memory is used, more than {ALERTS.redis_memory:.0%}",
        Shown.SHARE,
        ALERTS.saturation,
    ),
    AlertRule(
        "NoWorkersAvailable",
        Severity.CRITICAL,
        Group.DISTRIBUTED,
        # Of those that answer at a look. Where Redis does not, or nobody looks, nobody can be missed: then
        # RedisDown tells of that, or ServiceDown of the exporter.
        '(count(worker_active) or vector(0)) == 0 and on () exporter_source_up{source="workers"} == 1',
        f"{{value}} workers were heard of within {promql_duration(ALERTS.worker_silence)}",
        hold=ALERTS.worker_silence,
        keep_firing=ALERTS.source_away,
    ),
)


_BURNING = "{{ $labels.slo }} uses up its error budget of 30 days {value} times too fast"
_LEVELS = (
    AlertRule(
        "ErrorBudgetBurn",
        Severity.CRITICAL,
        Group.SERVICE_LEVELS,
        burns(SERVICE_LEVELS.fast),
        _BURNING,
    ),
    AlertRule(
        "ErrorBudgetBurn",
        Severity.WARNING,
        Group.SERVICE_LEVELS,
        burns(SERVICE_LEVELS.slow),
        _BURNING,
    ),
)

# CacheHitRateLow (below 70 %) comes with the cache, whose metrics nothing exports yet.
RULES: tuple[AlertRule, ...] = (
    *_SERVICES,
    *_DATA_AND_MODELS,
    *_TRADING,
    *_JOB_RULES,
    *_MACHINE,
    *_PROFILES,
    *_LEVELS,
)

INHIBITIONS = (
    # Nothing answers: what each part says of itself adds nothing.
    Inhibition(
        ('alertname="SystemDown"',),
        (
            'alertname=~"ServiceDown|HighErrorRate|HighLatency|HighAPILatency|ComponentUnhealthy|ErrorBudgetBurn"',
        ),
    ),
    Inhibition(
        ('alertname="ServiceDown"',),
        ('alertname=~"HighErrorRate|HighLatency|HighAPILatency|SlowQueries"',),
        ("service",),
    ),
    # The trader is the witness of feed and broker.
    Inhibition(
        ('alertname="ServiceDown"', 'service="trader"'),
        ('alertname="ComponentUnhealthy"', 'component=~"trader|feed|broker"'),
    ),
    Inhibition(
        ('alertname="PostgresDown"',),
        ('alertname="ComponentUnhealthy"', 'component="database"'),
    ),
    Inhibition(('alertname="PostgresDown"',), ('alertname=~"SlowQueries|HighDatabaseConnections"',)),
    # Workers take their tasks from it.
    Inhibition(('alertname="RedisDown"',), ('alertname=~"NoWorkersAvailable|RedisMemoryHigh"',)),
    # The same thing, worse.
    Inhibition(('alertname="CriticalFeatureDrift"',), ('alertname="FeatureDriftWarning"',), ("feature",)),
    Inhibition(
        ('alertname="DatabaseConnectionsExhausted"',), ('alertname="HighDatabaseConnections"',), ("instance",)
    ),
    Inhibition(
        ('alertname="ErrorBudgetBurn"', 'severity="critical"'),
        ('alertname="ErrorBudgetBurn"', 'severity="warning"'),
        ("slo",),
    ),
)
