"""Check that the databases answer, and how many of their connections are taken."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.db.engine import connect, database_file, reading
from autotrader.db.schema import HEAD, LEDGER_HEAD, revision
from autotrader.domain.errors import AutotraderError, ExitCode, Unreachable


@dataclass(frozen=True)
class DatabaseReport:
    """What was found of one database.

    Attributes
    ----------
    url : str
        Without its password.
    exit_code : ExitCode
        DONE; UNREACHABLE; or FAILED where its schema is behind what this version uses of it.
    state : str
        One sentence for a person.
    revision, head : str or None
        Of its schema, and the newest that concerns what it holds.
    latency_ms : float or None
        Of a query in an open connection.
    pool_size, pool_taken : int or None
        Connections that a process like this one keeps, and how many of them are in use.
    connections, max_connections : int or None
        All clients of the server, where it is PostgreSQL, and how many it admits.
    """

    name: str
    url: str
    exit_code: ExitCode
    state: str
    revision: str | None = None
    head: str = HEAD
    latency_ms: float | None = None
    pool_size: int | None = None
    pool_taken: int | None = None
    connections: int | None = None
    max_connections: int | None = None


def check_connections(*, settings: Settings) -> command.Result:
    """Check that the databases answer, that their schema is current, and how many connections are taken.

    Changes nothing: a database that does not exist yet, or is behind, is brought up to date by the
    first command that uses it. Of the trial ledger, which only training opens, that is the first training;
    until then it is fine as long as its own table is as this version has it, or is not there yet. Exit
    code 3 if one does not answer, 1 if one is behind.
    """
    reports = [
        _check("database", settings.database_url, HEAD),
        _check("trial_ledger", settings.ledger_url, LEDGER_HEAD, may_be_empty=True),
    ]
    codes = {r.exit_code for r in reports}
    worst = next((c for c in (ExitCode.UNREACHABLE, ExitCode.FAILED) if c in codes), ExitCode.DONE)
    return command.Result({"databases": reports}, "\n".join(map(_text, reports)), worst)


def _check(name: str, url: str, head: str, *, may_be_empty: bool = False) -> DatabaseReport:
    engine = connect(url)
    shown = engine.url.render_as_string()
    if engine.dialect.name == "sqlite" and not database_file(engine).exists():
        state = "not there yet: the first command that uses it makes it"
        return DatabaseReport(name, shown, ExitCode.DONE, state, head=head)
    try:
        found = revision(engine)
        latency_ms = _latency_ms(engine)
        taken, admitted = _server_connections(engine)
    except AutotraderError as error:
        code = ExitCode.UNREACHABLE if isinstance(error, Unreachable) else ExitCode.FAILED
        return DatabaseReport(name, shown, code, str(error), head=head)
    else:
        code, state = _judge(found, head, may_be_empty=may_be_empty)
        pool = engine.pool
        assert isinstance(pool, sa.QueuePool)  # noqa: S101 - what `connect` makes
        return DatabaseReport(
            name,
            shown,
            code,
            state,
            revision=found,
            head=head,
            latency_ms=latency_ms,
            pool_size=pool.size(),
            pool_taken=pool.checkedout(),
            connections=taken,
            max_connections=admitted,
        )
    finally:
        engine.dispose()


def _judge(found: str | None, head: str, *, may_be_empty: bool) -> tuple[ExitCode, str]:
    if found is None and may_be_empty:
        return ExitCode.DONE, "answers, and is empty: the first training makes its table"
    if found is None or found < head:
        return ExitCode.FAILED, f"behind: expected revision {head}, was {found}"
    return ExitCode.DONE, "answers, and is current"


def _latency_ms(engine: Engine) -> float:
    with reading(engine) as connection:
        connection.execute(sa.text("SELECT 1"))
        begin = time.perf_counter()
        connection.execute(sa.text("SELECT 1"))
        return round((time.perf_counter() - begin) * 1000, 3)


def _server_connections(engine: Engine) -> tuple[int | None, int | None]:
    if engine.dialect.name != "postgresql":
        return None, None
    with reading(engine) as connection:
        taken = connection.scalar(
            sa.text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        )
        admitted = connection.scalar(sa.text("SELECT current_setting('max_connections')::int"))
    return taken, admitted


def _text(report: DatabaseReport) -> str:
    parts = [f"{report.name}: {report.url}", f"  {report.state}"]
    if report.latency_ms is not None:
        parts.append(
            f"  {report.latency_ms} ms a query; {report.pool_taken} of a pool of {report.pool_size} taken"
        )
    if report.connections is not None and report.max_connections:
        share = report.connections / report.max_connections
        parts.append(f"  {report.connections} of the server's {report.max_connections} taken ({share:.0%})")
    return "\n".join(parts)


if __name__ == "__main__":
    raise SystemExit(command.run(check_connections))
