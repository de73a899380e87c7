"""The machine, and requests to our services."""

from __future__ import annotations

from autotrader.domain.metrics import Profile
from autotrader.domain.service_levels import ASKED
from autotrader.domain.thresholds import ALERTS, API, PANELS
from autotrader.monitoring.dashboards.panels import (
    RATE,
    Color,
    Dashboard,
    Look,
    Panel,
    Query,
    Row,
    Shown,
    Variable,
    worse_above,
)

_OURS = 'service=~"$service"'
_PREDICTIONS = 'service=~"prediction-.+",endpoint="/predict"'
_DISKS = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660"'
_DEVICES = 'device!~"lo|veth.+|br-.+|docker.+"'


def _latency(share: float) -> Query:
    answered = f"rate(http_request_duration_seconds_bucket{{{_PREDICTIONS}}}[{RATE}])"
    return Query(f"histogram_quantile({share}, sum by (le) ({answered}))", f"p{share * 100:g}")


_MACHINE = Row(
    "Machine",
    (
        Panel(
            "CPU",
            "Share of the processors' time that is used. Training fills them for a while, and should; red for"
            " long means that trading and answers wait.",
            (Query(f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}[{RATE}]))', "used"),),
            shown=Shown.SHARE,
            steps=worse_above(*PANELS.cpu),
            width=6,
            most=1,
        ),
        Panel(
            "Memory",
            "Share of the memory that is used; what the system could give back at once counts as free. Full"
            " memory ends processes.",
            (Query("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "used"),),
            shown=Shown.SHARE,
            steps=worse_above(*PANELS.memory),
            width=6,
            most=1,
        ),
        Panel(
            "Disk",
            "Share of each file system that is used. A full one stops the prediction service: what it cannot"
            " log, it does not answer.",
            (
                Query(
                    f"1 - node_filesystem_avail_bytes{{{_DISKS}}} / node_filesystem_size_bytes{{{_DISKS}}}",
                    "{{mountpoint}}",
                ),
            ),
            shown=Shown.SHARE,
            steps=worse_above(1 - API.free_disk_share),
            width=6,
            most=1,
        ),
        Panel(
            "Network",
            "Bytes a second that came in and went out, of all devices but those of containers.",
            (
                Query(f"sum(rate(node_network_receive_bytes_total{{{_DEVICES}}}[{RATE}]))", "received"),
                Query(f"sum(rate(node_network_transmit_bytes_total{{{_DEVICES}}}[{RATE}]))", "sent"),
            ),
            shown=Shown.BYTES_A_SECOND,
            width=6,
        ),
    ),
)

_REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Request rate",
            "Requests a second that were answered, by service.",
            (Query(f"sum by (service) (rate(http_requests_total{{{_OURS}}}[{RATE}]))", "{{service}}"),),
            shown=Shown.REQUESTS_A_SECOND,
        ),
        Panel(
            "Error rate",
            "Share of the requests that were answered with a fault of ours (5xx). Requests for health and"
            " metrics do not count.",
            (
                Query(
                    f'(sum by (service) (rate(http_requests_total{{{ASKED},{_OURS},status=~"5.."}}[{RATE}]))'
                    f" or 0 * sum by (service) (rate(http_requests_total{{{ASKED},{_OURS}}}[{RATE}])))"
                    f" / (sum by (service) (rate(http_requests_total{{{ASKED},{_OURS}}}[{RATE}])) > 0)",
                    "{{service}}",
                ),
            ),
            shown=Shown.SHARE,
            steps=worse_above(*PANELS.error_rate),
            if_empty="nobody asks",
        ),
        Panel(
            "Latency of predictions",
            "How long half, 95 and 99 of 100 callers wait at most for a prediction, both colours together.",
            (_latency(0.5), _latency(0.95), _latency(0.99)),
            shown=Shown.SECONDS,
            steps=worse_above(*PANELS.latency_seconds),
            if_empty="nobody asks",
        ),
    ),
)

_DATABASE = Row(
    "Database",
    (
        Panel(
            "PostgreSQL",
            "Whether it answers. While it does not, nothing is traded.",
            (Query("pg_up", "{{instance}}"),),
            look=Look.TIMELINE,
            words={1: ("up", Color.GREEN), 0: ("DOWN", Color.RED)},
            profile=Profile.POSTGRES,
            width=6,
        ),
        Panel(
            "Database connections",
            "Share of PostgreSQL's connections that are taken. Beyond the last one everything that needs the"
            " database fails, the trader first.",
            (
                Query(
                    "sum by (instance) (pg_stat_activity_count) / max by (instance)"
                    " (pg_settings_max_connections)",
                    "{{instance}}",
                ),
            ),
            shown=Shown.SHARE,
            steps=worse_above(ALERTS.connections_warning, ALERTS.connections_critical),
            profile=Profile.POSTGRES,
            width=6,
            most=1,
        ),
        Panel(
            "Database statements, p95",
            "How long 95 of 100 statements take at most until their first row, by the service that waits.",
            (
                Query(
                    "histogram_quantile(0.95, sum by (service, le)"
                    f" (rate(database_query_duration_seconds_bucket{{{_OURS}}}[{RATE}])))",
                    "{{service}}",
                ),
            ),
            shown=Shown.SECONDS,
            steps=worse_above(ALERTS.query_p95_seconds),
            width=6,
        ),
        Panel(
            "Database size",
            "Of each database of PostgreSQL.",
            (Query('pg_database_size_bytes{datname!~"template.*"}', "{{datname}}"),),
            shown=Shown.BYTES,
            profile=Profile.POSTGRES,
            width=6,
        ),
    ),
)

_PROCESSES = Row(
    "Our processes",
    (
        Panel(
            "Services",
            "Whether the page of a service can be read. A colour without a release, and a trader that was"
            " stopped, are away by right: ServiceDown tells of those alone that are to run.",
            (Query(f'up{{service!="",{_OURS}}}', "{{service}}"),),
            look=Look.TIMELINE,
            words={1: ("up", Color.GREEN), 0: ("away", Color.RED)},
        ),
        Panel(
            "Memory of processes",
            "Resident memory, by service. A line that only rises is a leak.",
            (Query(f"process_resident_memory_bytes{{{_OURS}}}", "{{service}}"),),
            shown=Shown.BYTES,
        ),
        Panel(
            "CPU of processes",
            "Processors that a service keeps busy: 1 is a whole one.",
            (Query(f"sum by (service) (rate(process_cpu_seconds_total{{{_OURS}}}[{RATE}]))", "{{service}}"),),
        ),
    ),
)

SYSTEM_METRICS = Dashboard(
    "system_metrics",
    "System metrics",
    "The machine, requests, database and processes.",
    (_MACHINE, _REQUESTS, _DATABASE, _PROCESSES),
    (Variable("service", "Service", 'up{service!=""}'),),
)
