"""Stage 2: our database and the trial ledger."""

from __future__ import annotations

from collections.abc import Iterator

from autotrader.config.settings import PREFIX, Environment, Settings
from autotrader.db.check_connections import DatabaseReport, check_connections
from autotrader.domain.errors import ExitCode
from autotrader.domain.thresholds import ALERTS, READINESS
from autotrader.readiness.findings import Finding, failed, ok, warning


def look(*, settings: Settings) -> Iterator[Finding]:
    """Whether both answer, with this version's schema, and have connections left."""
    for report in reports_of(settings):
        yield judge(report, settings)


def reports_of(settings: Settings) -> tuple[DatabaseReport, ...]:
    """As `autotrader.db.check_connections` has them; nothing is created or migrated."""
    data = check_connections(settings=settings).data
    assert isinstance(data, dict)  # noqa: S101 - what it returns
    return tuple(data["databases"])


def trouble(settings: Settings) -> Finding | None:
    """Why the database must not be opened by a check: opening would create or migrate it."""
    (report,) = (r for r in reports_of(settings) if r.name == "database")
    found = judge(report, settings)
    if report.exit_code is not ExitCode.DONE or report.revision is None:
        return failed("database", f"not looked at without it: {found.reason}", found.todo)
    return None


def judge(report: DatabaseReport, settings: Settings) -> Finding:
    """What a report means for these settings."""
    name = report.name.replace("_", " ")
    if report.exit_code is ExitCode.UNREACHABLE:
        return failed(name, report.state, f"start it, or correct {_variable(report)}")
    if report.exit_code is not ExitCode.DONE:
        return failed(name, report.state, "run `make backup`, then any command of this version: it migrates")
    if report.revision is None or report.latency_ms is None:
        return failed(name, f"{report.url} is {report.state}", "run `make quickstart`, or restore a backup")
    if settings.environment is Environment.PRODUCTION and report.url.startswith("sqlite"):
        return failed(
            name, f"{report.url} is a file of one machine", f"set {_variable(report)} to a PostgreSQL server"
        )
    figures = f"revision {report.revision}, {report.latency_ms:.1f} ms a query"
    if report.connections is not None and report.max_connections:
        share = report.connections / report.max_connections
        figures += f", {report.connections} of {report.max_connections} connections taken ({share:.0%})"
        todo = "end idle clients, or raise max_connections"
        if share > ALERTS.connections_critical:
            return failed(name, figures, todo)
        if share > ALERTS.connections_warning:
            return warning(name, figures, todo)
    if report.latency_ms > READINESS.query_ms:
        return warning(name, figures, f"expected below {READINESS.query_ms:g} ms: look at its load")
    return ok(name, figures)


def _variable(report: DatabaseReport) -> str:
    return f"{PREFIX}DATABASE__{'URL' if report.name == 'database' else 'LEDGER_URL'}"
