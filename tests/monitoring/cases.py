"""For every rule: what makes it fire, what ends it, and what comes close and does not.

Samples are a minute apart, from 1970 on. `a+bxn` is a and n more, each by b larger; `axn` is a, n + 1 times;
`_xn` is n times nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Series = dict[str, str]


@dataclass(frozen=True)
class Alert:
    """One that is expected, whole."""

    severity: str
    summary: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Times are minutes.

    Attributes
    ----------
    alert : str
    series : Series
        Well, then ill, then well.
    silent, fires, clears : int
        When each is looked at; the first is as late as may be.
    expected : tuple of Alert
        What fires of this name.
    quiet : Series
        Never makes it fire.
    quiet_until : int
    """

    alert: str
    series: Series
    silent: int
    fires: int
    clears: int
    expected: tuple[Alert, ...]
    quiet: Series
    quiet_until: int = 30


def _of(severity: str, summary: str, /, **labels: str) -> tuple[Alert, ...]:
    return (Alert(severity, summary, labels),)


def _requests(service: str, answered: str, failed: str, endpoint: str = "/x") -> Series:
    of = f'http_requests_total{{service="{service}",endpoint="{endpoint}",status='
    return {f'{of}"200"}}': answered, f'{of}"503"}}': failed}


def _histogram(name: str, labels: str, bounds: tuple[str, str], below: str, all_: str) -> Series:
    buckets = {f'{name}_bucket{{{labels},le="{bounds[0]}"}}': below}
    buckets |= {f'{name}_bucket{{{labels},le="{bound}"}}': all_ for bound in (bounds[1], "+Inf")}
    return {**buckets, f"{name}_count{{{labels}}}": all_}


_SLOW, _MENDED = "0+90x60", "0+90x30 2800+100x60"
_GOOD, _ALL = "0+100x60", "0+100x91"
_HTTP, _QUERY = "http_request_duration_seconds", "database_query_duration_seconds"
_PREDICT = 'service="prediction-blue",endpoint="/predict"'
_JOBS = "worker_jobs_processed_total"
_NODE = 'instance="a:9100"'
_DISK = 'instance="a:9100",mountpoint="/data",device="sda",fstype='
_PG = 'instance="a:9187"'
_REDIS = 'instance="a:9121"'
_BURN = "uses up its error budget of 30 days {} times too fast"

CASES = (
    Case(
        "SystemDown",
        {'up{service="api"}': "1x4 0x9 1x9", 'up{service="trader"}': "0x30"},
        *(6, 7, 15),
        _of("critical", "0 services of the platform have answered for 2m"),
        {'up{service="api"}': "0x30", 'up{service="exporter"}': "1x30", 'up{job="node"}': "0x30"},
    ),
    Case(
        "ServiceDown",
        {'up{service="api"}': "1x4 0x9 1x9"},
        *(5, 6, 15),
        _of("critical", "api has not answered for 1m: up is 0", service="api"),
        # One that is not to run, one of which nobody knows, and one that is none of ours.
        {
            'up{service="prediction-green"}': "0x30",
            'service_expected{service="prediction-green"}': "0x30",
            'up{service="trader"}': "0x30",
            'up{job="node"}': "0x30",
        },
    ),
    Case(
        "ServiceDown",
        # The exporter, which knows that it is to run, ends at the same time.
        {
            'up{service="trader"}': "1x4 0x9 1x9",
            'service_expected{service="trader"}': "1x4 _x10 1x9",
        },
        *(5, 6, 15),
        _of("critical", "trader has not answered for 1m: up is 0", service="trader"),
        {'up{service="trader"}': "0x30", 'service_expected{service="trader"}': "0x30"},
    ),
    Case(
        "HighErrorRate",
        _requests("api", "0+98x60", "0x10 2+2x20 42x40"),
        *(14, 25, 45),
        _of("critical", "api fails 2% of its requests, more than 1%", service="api"),
        {
            **_requests("api", "0+99.1x60", "0+0.9x60"),
            **_requests("api", "0x60", "0+60x60", endpoint="/health"),
        },
    ),
    Case(
        "ComponentUnhealthy",
        {'component_health{component="broker",service="api"}': "1x4 0x9 1x9"},
        *(6, 7, 21),
        _of("critical", "broker is unhealthy: its health is 0, where 1 is healthy", component="broker"),
        {'component_health{component="disk",service="api"}': "0.5x30"},
    ),
    Case(
        "BackupMissing",
        {"backup_last_success_timestamp_seconds": "0x1580 94800x20"},
        *(1561, 1562, 1587),
        _of(
            "critical",
            "The newest backup is 1d 2h 2m 0s old, or there was none in that time; "
            "there should be one every 26h",
        ),
        # The database is away for a while, and the exporter is an old process.
        {
            "backup_last_success_timestamp_seconds": "0x1500 90000x50 stale _x20 90000x80",
            'process_start_time_seconds{service="exporter"}': "0x1700",
            'exporter_source_up{source="backups"}': "1x1550 0x20 1x80",
        },
        1640,
    ),
    Case(
        "BackupMissing",
        # Never one was made, and the exporter is started anew each day.
        {
            'backup_awaited_since_timestamp_seconds{service="exporter"}': "0x1570 stale _x30",
            'process_start_time_seconds{service="exporter"}': "0x1400 84000x200",
            "backup_last_success_timestamp_seconds": "_x1571 94260x30",
        },
        *(1561, 1562, 1578),
        _of(
            "critical",
            "The newest backup is 1d 2h 2m 0s old, or there was none in that time; "
            "there should be one every 26h",
            service="exporter",
        ),
        {'backup_awaited_since_timestamp_seconds{service="exporter"}': "0x1500"},
        1500,
    ),
    Case(
        "HighLatency",
        _histogram(_HTTP, _PREDICT, ("0.2", "0.5"), _MENDED, _ALL),
        *(10, 20, 50),
        _of(
            "warning",
            "prediction-blue answers in 470ms at its p99, longer than 200 ms",
            service="prediction-blue",
        ),
        _histogram(_HTTP, _PREDICT, ("0.2", "0.5"), "0+99.5x60", _GOOD),
        60,
    ),
    Case(
        "HighAPILatency",
        _histogram(_HTTP, 'service="api",endpoint="/api/pnl"', ("1", "2.5"), _MENDED, _ALL),
        *(10, 20, 50),
        _of("warning", "The API answers in 1.75s at its p95, longer than 1 s", service="api"),
        {
            **_histogram(_HTTP, 'service="api",endpoint="/api/pnl"', ("1", "2.5"), "0+96x60", _GOOD),
            **_histogram(_HTTP, 'service="api",endpoint="/metrics"', ("1", "2.5"), "0x60", _GOOD),
        },
        60,
    ),
    Case(
        "SlowQueries",
        _histogram(_QUERY, 'service="api",operation="select"', ("1", "2.5"), _MENDED, _ALL),
        *(10, 20, 50),
        _of("warning", "api waits 1.75s for its database at the p95, longer than 1 s", service="api"),
        _histogram(_QUERY, 'service="api",operation="select"', ("1", "2.5"), "0+96x60", _GOOD),
        60,
    ),
    Case(
        "HighAPIRequestRate",
        {'http_requests_total{service="api"}': "0+66000x30 1986000+6000x30"},
        *(5, 20, 50),
        _of("info", "The API is asked 1100 times a second, more than 1000", service="api"),
        {
            'http_requests_total{service="api"}': "0+57000x60",
            'http_requests_total{service="prediction-blue"}': "0+120000x60",
        },
        60,
    ),
    Case(
        "DataPipelineFailure",
        {'pipeline_consecutive_failures{dag_id="data_pipeline"}': "0 1 2 3 3 0x9"},
        *(2, 3, 11),
        _of("critical", "data_pipeline failed 3 times in a row", dag_id="data_pipeline"),
        {'pipeline_consecutive_failures{dag_id="weekly_report"}': "5x30"},
    ),
    Case(
        "ModelDeploymentFailure",
        {'deployment_last_failure_timestamp_seconds{service="exporter"}': "_x5 300x90"},
        *(4, 10, 71),
        _of("critical", "A deployment failed 5m 0s ago; predictions are those of the version before"),
        {"deployment_last_failure_timestamp_seconds": "-3600x90"},
        90,
    ),
    Case(
        "CriticalFeatureDrift",
        {
            'feature_psi{feature="rsi"}': "0.1x4 0.35x4 0.1x9",
            'feature_drift_verdict{feature="rsi"}': "0x4 2x15",
        },
        *(4, 5, 16),
        _of("critical", "rsi has a PSI of 0.35, above 0.3 and beyond chance", feature="rsi"),
        # As large, and not beyond chance; beyond chance, and not as large.
        {
            'feature_psi{feature="rsi"}': "0.35x30",
            'feature_drift_verdict{feature="rsi"}': "1x30",
            'feature_psi{feature="atr"}': "0.3x30",
            'feature_drift_verdict{feature="atr"}': "2x30",
        },
    ),
    Case(
        "FeatureDriftWarning",
        {
            'feature_psi{feature="rsi"}': "0.1x4 0.25x4 0.1x9",
            'feature_drift_verdict{feature="rsi"}': "0x4 1x15",
        },
        *(4, 5, 16),
        _of("warning", "rsi has a PSI of 0.25, above 0.2", feature="rsi"),
        {
            'feature_psi{feature="rsi"}': "0.25x30",
            'feature_drift_verdict{feature="rsi"}': "0x30",
            'feature_psi{feature="atr"}': "0.2x30",
            'feature_drift_verdict{feature="atr"}': "1x30",
        },
    ),
    *(
        Case(
            "DataQualityIssues",
            {f'{metric}{{{label}="{name}"}}': f"0x4 {share}x4 0x9"},
            *(4, 5, 16),
            _of(
                "warning",
                f"{name}: {share * 100:.4g}% is missing (more than 5% warns) or was refused as an outlier",
                **{label: name},
            ),
            {f'{metric}{{{label}="{name}"}}': f"{near}x30"},
        )
        for metric, label, name, share, near in (
            ("bars_missing_ratio", "instrument", "binance:BTCUSDT", 0.06, 0.05),
            ("bars_quarantined_ratio", "instrument", "binance:BTCUSDT", 0.001, 0),
            ("feature_missing_ratio", "feature", "rsi", 0.06, 0.05),
        )
    ),
    Case(
        "LowConfidence",
        {
            'model_prediction_confidence_sum{service="trader"}': "0+5x200 1008+8x200",
            'model_prediction_confidence_count{service="trader"}': "0+10x401",
        },
        *(120, 150, 300),
        _of("warning", "The model is 50% sure of its predictions on average, less than 60%"),
        {
            'model_prediction_confidence_sum{service="trader"}': "0+6.5x300",
            'model_prediction_confidence_count{service="trader"}': "0+10x300",
        },
        300,
    ),
    Case(
        "CircuitBreakerTripped",
        # The trader's word ends with it, the exporter's a while later: it reads the database.
        {
            'trading_circuit_breaker_active{service="trader"}': "0x4 1x1 stale",
            'trading_circuit_breaker_active{service="exporter"}': "0x5 1x3 0x9",
        },
        *(4, 5, 16),
        _of("critical", "The circuit breaker halts trading (it is at 1): a person must resume it"),
        {
            'trading_circuit_breaker_active{service="trader"}': "0x10 stale",
            'trading_circuit_breaker_active{service="exporter"}': "0x30",
        },
    ),
    Case(
        "PositionMismatch",
        {'trading_position_mismatches{kind="QUANTITY_MISMATCH",service="exporter"}': "0x4 2x4 0x9"},
        *(4, 5, 16),
        _of(
            "critical",
            "2 differences from the broker (QUANTITY_MISMATCH) wait for a person",
            kind="QUANTITY_MISMATCH",
        ),
        {'trading_position_mismatches{kind="QUANTITY_MISMATCH"}': "0x30"},
    ),
    Case(
        "LowWinRate",
        {"trading_winning_trades": "60x10 40x300 60x60", "trading_total_trades": "100x400"},
        *(250, 251, 320),
        _of("warning", "40% of the trades of 30 days earned, less than 50%"),
        {"trading_winning_trades": "0x300", "trading_total_trades": "0x300"},
        300,
    ),
    Case(
        "WorkerQueueBacklog",
        {'queue_length{queue="default"}': "100x4 150x15 0x10"},
        *(9, 10, 27),
        _of("warning", "150 tasks wait in default, more than 100", queue="default"),
        {'queue_length{queue="default"}': "100x30"},
    ),
    Case(
        "HighJobFailureRate",
        {
            f'{_JOBS}{{type="report",status="succeeded"}}': "0+8x150",
            f'{_JOBS}{{type="report",status="failed"}}': "0+2x50 100x100",
        },
        *(15, 30, 100),
        _of("warning", "20% of the jobs failed, more than 10%"),
        {
            f'{_JOBS}{{type="report",status="succeeded"}}': "0+9.5x100",
            f'{_JOBS}{{type="report",status="failed"}}': "0+0.5x100",
        },
        100,
    ),
    Case(
        "DeadLetterQueueGrowing",
        {'job_dlq_moves_total{type="report"}': "0x9 12x80"},
        *(9, 20, 75),
        _of("warning", "12 jobs became dead letters within 1h, more than 10"),
        {'job_dlq_moves_total{type="report"}': "0x9 10x80"},
        90,
    ),
    Case(
        "BacktestTakingTooLong",
        {'job_oldest_running_seconds{type="backtest"}': "3540 3600 3660 0x9"},
        *(1, 2, 9),
        _of("warning", "A backtest has run for 1h 1m 0s, longer than 3600 s", type="backtest"),
        {'job_oldest_running_seconds{type="report"}': "9000x30"},
    ),
    Case(
        "HighBacktestFailureRate",
        {
            f'{_JOBS}{{type="backtest",status="succeeded"}}': "0+7x150",
            f'{_JOBS}{{type="backtest",status="failed"}}': "0+3x50 150x100",
        },
        *(0, 30, 100),
        _of("warning", "30% of the backtests failed, more than 20%"),
        {
            f'{_JOBS}{{type="backtest",status="succeeded"}}': "0+8.5x100",
            f'{_JOBS}{{type="backtest",status="failed"}}': "0+1.5x100",
            f'{_JOBS}{{type="report",status="failed"}}': "0+9x100",
        },
        100,
    ),
    Case(
        "HighCPUUsage",
        {f'node_cpu_seconds_total{{{_NODE},cpu="0",mode="idle"}}': "0+6x30 228+48x30"},
        *(5, 20, 50),
        _of("warning", "90% of the processors' time is used, more than 80%", instance="a:9100"),
        {f'node_cpu_seconds_total{{{_NODE},cpu="0",mode="idle"}}': "0+15x60"},
        60,
    ),
    Case(
        "HighMemoryUsage",
        {
            f"node_memory_MemAvailable_bytes{{{_NODE}}}": "50x5 10x15 50x9",
            f"node_memory_MemTotal_bytes{{{_NODE}}}": "100x40",
        },
        *(10, 11, 23),
        _of("warning", "90% of the memory is used, more than 85%", instance="a:9100"),
        {
            f"node_memory_MemAvailable_bytes{{{_NODE}}}": "20x30",
            f"node_memory_MemTotal_bytes{{{_NODE}}}": "100x30",
        },
    ),
    Case(
        "DiskSpaceLow",
        {
            f'node_filesystem_avail_bytes{{{_DISK}"ext4"}}': "50x5 10x15 50x9",
            f'node_filesystem_size_bytes{{{_DISK}"ext4"}}': "100x40",
        },
        *(10, 11, 23),
        _of(
            "warning",
            "10% of /data is free, less than 15%",
            instance="a:9100",
            mountpoint="/data",
            device="sda",
            fstype="ext4",
        ),
        {
            f'node_filesystem_avail_bytes{{{_DISK}"tmpfs"}}': "1x30",
            f'node_filesystem_size_bytes{{{_DISK}"tmpfs"}}': "100x30",
            f'node_filesystem_avail_bytes{{{_DISK}"ext4"}}': "20x30",
            f'node_filesystem_size_bytes{{{_DISK}"ext4"}}': "100x30",
        },
    ),
    *(
        Case(
            alert,
            {series: "1x4 0x5 1x9"},
            *(5, 6, 11),
            _of("critical", f"{name} at {instance} does not answer: up is 0", instance=instance, **labels),
            {series: "1x30"},
        )
        for alert, name, series, instance, labels in (
            ("PostgresDown", "PostgreSQL", f"pg_up{{{_PG}}}", "a:9187", {}),
            ("PostgresDown", "PostgreSQL", f'up{{job="postgres",{_PG}}}', "a:9187", {"job": "postgres"}),
            ("RedisDown", "Redis", f"redis_up{{{_REDIS}}}", "a:9121", {}),
            ("RedisDown", "Redis", f'up{{job="redis",{_REDIS}}}', "a:9121", {"job": "redis"}),
        )
    ),
    *(
        Case(
            alert,
            {
                f'pg_stat_activity_count{{{_PG},state="active"}}': f"10x5 {taken}x9 10x9",
                f"pg_settings_max_connections{{{_PG}}}": "100x40",
            },
            *(fires - 1, fires, 17),
            _of(
                severity,
                f"{taken}% of PostgreSQL's connections are taken, more than {bound}%",
                instance="a:9187",
            ),
            {
                f'pg_stat_activity_count{{{_PG},state="active"}}': f"{bound - 10}x30",
                f'pg_stat_activity_count{{{_PG},state="idle"}}': "10x30",
                f"pg_settings_max_connections{{{_PG}}}": "100x30",
            },
        )
        for alert, severity, taken, bound, fires in (
            ("DatabaseConnectionsExhausted", "critical", 96, 95, 7),
            ("HighDatabaseConnections", "warning", 85, 80, 11),
        )
    ),
    Case(
        "RedisMemoryHigh",
        {
            f"redis_memory_used_bytes{{{_REDIS}}}": "50x5 95x15 50x9",
            f"redis_memory_max_bytes{{{_REDIS}}}": "100x40",
        },
        *(10, 11, 23),
        _of("warning", "95% of Redis' memory is used, more than 90%", instance="a:9121"),
        {  # without a limit
            f"redis_memory_used_bytes{{{_REDIS}}}": "95x30",
            f"redis_memory_max_bytes{{{_REDIS}}}": "0x30",
        },
    ),
    Case(
        "NoWorkersAvailable",
        {'worker_active{worker="a"}': "0x3 stale _x4 1x30", 'exporter_source_up{source="workers"}': "1x40"},
        *(5, 6, 15),
        _of("critical", "0 workers were heard of within 2m"),
        {  # one of two is silent
            'worker_active{worker="a"}': "0x3 stale",
            'worker_active{worker="b"}': "0x30",
            'exporter_source_up{source="workers"}': "1x30",
        },
    ),
    Case(
        "NoWorkersAvailable",
        # None was ever heard of, and Redis does not answer at first.
        {
            'worker_active{worker="a"}': "_x7 0x30",
            'exporter_source_up{source="workers"}': "_x1 0x1 1x40",
        },
        *(4, 5, 13),
        _of("critical", "0 workers were heard of within 2m"),
        {  # a look fails, the exporter is started anew, a worker is too busy, and Redis is away for good
            'worker_active{worker="a"}': "0x3 stale 0x3 stale _ 0x1 stale 0 stale",
            'exporter_source_up{source="workers"}': "1x3 0 1x3 stale 0 1x3 0x20",
        },
    ),
    Case(
        "ErrorBudgetBurn",
        _requests("api", "0+95x500", "0+5x60 300x440"),
        *(0, 60, 480),
        tuple(
            Alert(severity, f"availability {_BURN.format(50)}", {"slo": "availability"})
            for severity in ("critical", "warning")
        ),
        _requests("api", "0+9995x200", "0+5x200"),
        200,
    ),
    Case(
        "ErrorBudgetBurn",
        _histogram(_HTTP, _PREDICT, ("0.2", "0.5"), "0+80x60 4900+100x440", "0+100x500"),
        *(0, 60, 480),
        tuple(
            Alert(severity, f"prediction_latency {_BURN.format(20)}", {"slo": "prediction_latency"})
            for severity in ("critical", "warning")
        ),
        _histogram(_HTTP, _PREDICT, ("0.2", "0.5"), "0+99.5x200", "0+100x200"),
        200,
    ),
    Case(
        "ErrorBudgetBurn",
        {'feature_overdue_seconds{instrument="a"}': "60x30 4000x60 60x450"},
        *(30, 91, 480),
        (
            Alert("critical", f"data_freshness {_BURN.format(100)}", {"slo": "data_freshness"}),
            Alert("warning", f"data_freshness {_BURN.format('66.3')}", {"slo": "data_freshness"}),
        ),
        {'feature_overdue_seconds{instrument="a"}': "3600x200"},
        200,
    ),
    Case(
        "ErrorBudgetBurn",
        {
            'pipeline_runs_total{dag_id="a",state="success"}': "0+9x900",
            'pipeline_runs_total{dag_id="a",state="failed"}': "0+1x400 400x500",
        },
        *(0, 300, 800),
        (Alert("warning", f"pipeline_success {_BURN.format(2)}", {"slo": "pipeline_success"}),),
        {
            'pipeline_runs_total{dag_id="a",state="success"}': "0+9.8x500",
            'pipeline_runs_total{dag_id="a",state="failed"}': "0+0.2x500",
        },
        500,
    ),
)
