"""What runs behind the trading: service levels, pipelines, data, deployments, jobs and workers."""

from __future__ import annotations

from autotrader.domain.metrics import Profile
from autotrader.domain.service_levels import BURN_RATE, ERROR_RATIO, LEVELS, promql_duration
from autotrader.domain.thresholds import ALERTS, DATA_QUALITY, DRIFT, FRESHNESS, SERVICE_LEVELS
from autotrader.monitoring.dashboards.panels import (
    RATE,
    Color,
    Dashboard,
    Look,
    Panel,
    Query,
    Row,
    Shown,
    better_above,
    worse_above,
)

_SLOW, _FAST = SERVICE_LEVELS.slow[0], SERVICE_LEVELS.fast[0]
_GOOD = promql_duration(_SLOW.short)  # of all windows the one that every level has
_HOUR = promql_duration(_FAST.long)
_COUNT = promql_duration(ALERTS.count_window)
_JOBS = promql_duration(ALERTS.job_window)
_FRESH = (FRESHNESS.pipeline_warning.total_seconds(), FRESHNESS.pipeline_critical.total_seconds())
_OBJECTIVES = "; ".join(f"{level.name} {level.objective:.1%}: {level.meaning}" for level in LEVELS)


def _job_duration(share: float) -> Query:
    return Query(
        f"histogram_quantile({share}, sum by (le) (rate(worker_job_duration_seconds_bucket[{_JOBS}])))",
        f"p{share * 100:g}",
    )


_LEVELS = Row(
    "Service levels",
    (
        Panel(
            "Service levels",
            f"What was good in the last {_GOOD}. Agreed are, over 30 days: {_OBJECTIVES}.",
            (Query(f"1 - {ERROR_RATIO}:{_GOOD}", "{{slo}}"),),
            look=Look.BARS,
            shown=Shown.SHARE,
            if_empty="nothing happened yet",
            most=1,
        ),
        Panel(
            "Error budget burn",
            "How many times too fast the budget of 30 days is used up: at 1 it lasts exactly so long."
            f" Yellow is told within hours, red ({_FAST.factor:g}) pages.",
            (
                Query(
                    f"{BURN_RATE}:{promql_duration(_FAST.long)}",
                    f"{{{{slo}}}}, {promql_duration(_FAST.long)}",
                ),
                Query(f"{BURN_RATE}:{_GOOD}", f"{{{{slo}}}}, {_GOOD}"),
            ),
            steps=worse_above(_SLOW.factor, _FAST.factor),
            if_empty="nothing happened yet",
        ),
        Panel(
            "API latency, p95",
            "How long 95 of 100 callers of the API wait at most.",
            (
                Query(
                    "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket"
                    f'{{service="api",endpoint!~"/health|/metrics"}}[{RATE}])))',
                    "p95",
                ),
            ),
            shown=Shown.SECONDS,
            steps=worse_above(ALERTS.api_p95_seconds),
            if_empty="nobody asks",
        ),
        Panel(
            "Alerts that fire",
            "By severity. What to do is on the page of each: `make alerts-list` has the links.",
            (Query('sum by (severity) (ALERTS{alertstate="firing"}) or on () vector(0)', "{{severity}}"),),
            look=Look.NUMBER,
            steps=worse_above(1),
        ),
        Panel(
            "Components",
            "What the checks of the components said.",
            (Query("min by (component) (component_health)", "{{component}}"),),
            look=Look.TIMELINE,
            words={
                1: ("healthy", Color.GREEN),
                0.5: ("degraded", Color.YELLOW),
                0: ("unhealthy", Color.RED),
            },
        ),
        Panel(
            "Age of the newest backup",
            "There is one a day. Empty: none was ever made.",
            (Query("time() - backup_last_success_timestamp_seconds"),),
            look=Look.NUMBER,
            shown=Shown.SECONDS,
            steps=worse_above(ALERTS.backup_age.total_seconds()),
            if_empty="no backup yet",
        ),
    ),
)

_PIPELINES = Row(
    "Pipelines and data",
    (
        Panel(
            "DAG success",
            "Share of the runs that ended well within a day, by DAG.",
            (
                Query(
                    'sum by (dag_id) (increase(pipeline_runs_total{state="success"}[1d]))'
                    " / (sum by (dag_id) (increase(pipeline_runs_total[1d])) > 0)",
                    "{{dag_id}}",
                ),
            ),
            look=Look.BARS,
            shown=Shown.SHARE,
            steps=better_above(SERVICE_LEVELS.pipeline_success),
            if_empty="no run ended",
            most=1,
        ),
        Panel(
            "Failures in a row",
            f"Runs that failed since the last good one. data_pipeline pages at {ALERTS.pipeline_failures}.",
            (Query("pipeline_consecutive_failures", "{{dag_id}}"),),
            steps=worse_above(1, ALERTS.pipeline_failures),
        ),
        Panel(
            "Since the last success",
            "Of each DAG.",
            (Query("time() - pipeline_last_success_timestamp_seconds", "{{dag_id}}"),),
            shown=Shown.SECONDS,
        ),
        Panel(
            "Data freshness",
            "How far the newest features and bars are behind the market, while it is open. They come once a"
            " day, and grow old between two runs.",
            (
                Query("feature_freshness_seconds", "features of {{instrument}}"),
                Query("bars_freshness_seconds", "bars of {{instrument}}"),
            ),
            shown=Shown.SECONDS,
        ),
        Panel(
            "Data overdue",
            "How far the newest features are behind what the last data run was due to bring.",
            (Query("feature_overdue_seconds", "features of {{instrument}}"),),
            shown=Shown.SECONDS,
            steps=worse_above(*_FRESH),
        ),
        Panel(
            "PSI by feature",
            "How far each feature has moved from what the live model learnt from, by the newest hourly check."
            " A high one is an alert only if it is more than chance does.",
            (Query("sort_desc(feature_psi)", "{{feature}}"),),
            look=Look.BARS,
            steps=worse_above(DRIFT.psi_warning, DRIFT.psi_critical),
            if_empty="not checked yet",
        ),
        Panel(
            "Missing and refused data",
            "Share of the bars that the calendar expects and were not found, that were refused as outliers,"
            " and of the served rows without a value of a feature.",
            (
                Query("bars_missing_ratio", "missing {{instrument}}"),
                Query("bars_quarantined_ratio", "refused {{instrument}}"),
                Query("max(feature_missing_ratio)", "features, the worst"),
            ),
            shown=Shown.SHARE,
            steps=worse_above(DATA_QUALITY.missing_share_warning, DATA_QUALITY.missing_share_critical),
        ),
    ),
)

_DEPLOYMENT = Row(
    "Deployment",
    (
        Panel(
            "Deployment stage",
            "Where the rollout under way stands. No line lit: none is under way.",
            (Query("deployment_stage", "{{stage}}"),),
            look=Look.TIMELINE,
            words={1: ("here", Color.BLUE), 0: (" ", Color.GREEN)},
            width=12,
        ),
        Panel(
            "Deployment colour",
            "Which colour answers the trader.",
            (Query("deployment_active_color", "{{color}}"),),
            look=Look.TIMELINE,
            words={1: ("live", Color.GREEN), 0: ("idle", Color.BLUE)},
            width=12,
        ),
        Panel(
            "Served versions",
            "What each colour has loaded.",
            (Query("max by (color, name, version) (model_info)"),),
            look=Look.TABLE,
            if_empty="nothing is served",
        ),
        Panel(
            "Rollouts taken back",
            "Since ever: by the candidate's fault, or by another one.",
            (Query("deployment_rollbacks_total", "{{reason}}"),),
        ),
        Panel(
            "Since the last failed deployment",
            "Since a rollout was taken back, or deployment_pipeline failed.",
            (Query("time() - deployment_last_failure_timestamp_seconds"),),
            look=Look.NUMBER,
            shown=Shown.SECONDS,
            steps=better_above(ALERTS.deployment_failure.total_seconds()),
            if_empty="none failed",
        ),
    ),
)

_WORK = Row(
    "Jobs",
    (
        Panel(
            "Pending jobs",
            "Tasks that wait for a worker, of all queues.",
            (Query("sum(queue_length)"),),
            look=Look.NUMBER,
            steps=worse_above(ALERTS.queue_length),
            if_empty="not known",
            width=6,
        ),
        Panel(
            "Processing rate",
            f"Jobs that ended a second, on the mean of {_JOBS}.",
            (Query(f"sum(rate(worker_jobs_processed_total[{_JOBS}]))"),),
            look=Look.NUMBER,
            shown=Shown.A_SECOND,
            if_empty="no job yet",
            width=6,
        ),
        Panel(
            "Dead letters",
            "Jobs that were given up and wait for a person: look at why, then requeue them.",
            (Query("sum(job_dlq_length)"),),
            look=Look.NUMBER,
            steps=worse_above(1, ALERTS.dead_letters),
            if_empty="no job yet",
            width=6,
        ),
        Panel(
            "Dead letters of an hour",
            "Jobs that were given up within an hour.",
            (Query(f"sum(increase(job_dlq_moves_total[{_COUNT}]))"),),
            look=Look.NUMBER,
            steps=worse_above(ALERTS.dead_letters),
            if_empty="no job yet",
            width=6,
        ),
        Panel(
            "Queue lengths",
            "Tasks that wait, by queue.",
            (Query("sum by (queue) (queue_length)", "{{queue}}"),),
            steps=worse_above(ALERTS.queue_length),
        ),
        Panel(
            "Jobs per hour",
            "Jobs that ended within an hour, by type and how they ended.",
            (
                Query(
                    f"sum by (type, status) (increase(worker_jobs_processed_total[{_COUNT}]))",
                    "{{type}}, {{status}}",
                ),
            ),
            if_empty="no job yet",
        ),
        Panel(
            "Job duration",
            "How long half, 95 and 99 of 100 jobs took at most.",
            (_job_duration(0.5), _job_duration(0.95), _job_duration(0.99)),
            shown=Shown.SECONDS,
            if_empty="no job ended lately",
        ),
        Panel(
            "Oldest job under way",
            "By type. A backtest is expected to end within the hour.",
            (Query("job_oldest_running_seconds", "{{type}}"),),
            shown=Shown.SECONDS,
            steps=worse_above(ALERTS.backtest_seconds),
            if_empty="no job yet",
        ),
    ),
)

_WORKERS = Row(
    "Workers",
    (
        Panel(
            "Workers",
            "Those that answer.",
            (Query("count(worker_active) or vector(0)"),),
            look=Look.NUMBER,
            steps=better_above(1),
            profile=Profile.DISTRIBUTED,
            width=6,
        ),
        Panel(
            "Tasks by worker",
            "What each works on now.",
            (Query("worker_active", "{{worker}}"),),
            profile=Profile.DISTRIBUTED,
            width=6,
        ),
        Panel(
            "CPU by worker",
            "Of one processor: 100 % is a whole one.",
            (Query("worker_cpu_percent", "{{worker}}"),),
            shown=Shown.PERCENT,
            profile=Profile.DISTRIBUTED,
            width=6,
        ),
        Panel(
            "Memory by worker",
            "Resident memory.",
            (Query("worker_memory_bytes", "{{worker}}"),),
            shown=Shown.BYTES,
            profile=Profile.DISTRIBUTED,
            width=6,
        ),
    ),
)

_REDIS = Row(
    "Redis",
    (
        Panel(
            "Redis",
            "Whether it answers.",
            (Query("redis_up", "{{instance}}"),),
            look=Look.NUMBER,
            words={1: ("up", Color.GREEN), 0: ("DOWN", Color.RED)},
            profile=Profile.REDIS,
            width=6,
        ),
        Panel(
            "Redis connections",
            "Clients that are connected: workers, and whoever hands them tasks.",
            (Query("redis_connected_clients", "{{instance}}"),),
            profile=Profile.REDIS,
            width=6,
        ),
        Panel(
            "Redis memory",
            "Bytes in use. At its limit it takes no new task.",
            (
                Query("redis_memory_used_bytes", "used"),
                Query("redis_memory_max_bytes > 0", "limit"),
            ),
            shown=Shown.BYTES,
            profile=Profile.REDIS,
            width=6,
        ),
        Panel(
            "Redis commands",
            "Commands a second.",
            (Query(f"rate(redis_commands_processed_total[{RATE}])", "{{instance}}"),),
            shown=Shown.A_SECOND,
            profile=Profile.REDIS,
            width=6,
        ),
    ),
)

PLATFORM_OPERATIONS = Dashboard(
    "platform_operations",
    "Platform operations",
    "Service levels, pipelines, data, deployments, jobs and workers.",
    (_LEVELS, _PIPELINES, _DEPLOYMENT, _WORK, _WORKERS, _REDIS),
)
