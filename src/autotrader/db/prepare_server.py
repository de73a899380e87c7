"""Make the roles and databases that the settings' URLs name exist on a new PostgreSQL server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.db.engine import connect, parse_url
from autotrader.db.locks import exclusive
from autotrader.domain.errors import ConfigurationError, Refused

_ADVICE = "set AUTOTRADER_DATABASE__ADMIN_URL to postgresql://ADMINISTRATOR:PASSWORD@HOST:PORT/postgres"


@dataclass(frozen=True)
class Prepared:
    """What became of a role and its database; passwords are in no report.

    Attributes
    ----------
    made_role, made_database : bool
        False where it was there, and was only brought to what the URL says.
    """

    role: str
    database: str
    made_role: bool
    made_database: bool


def prepare_server(*, settings: Settings) -> command.Result:
    """Make roles and databases of the platform, its trial ledger and MLflow on a PostgreSQL server.

    Which, and with which passwords, say the URLs of the settings; on which server and as which
    administrator, AUTOTRADER_DATABASE__ADMIN_URL. Run it once for a new server, and again when a password has
    changed: what is there stays. Tables are made by the first command that needs them.

    Raises
    ------
    ConfigurationError
        If a URL that is needed is missing, or is of another kind.
    Refused
        If a URL names the administrator, or one role with two passwords.
    Unreachable
        If the server does not answer.
    """
    if settings.database.admin_url is None:
        raise ConfigurationError(f"expected the URL of the server's administrator, was none: {_ADVICE}")
    administrator = parse_url(settings.database.admin_url.get_secret_value())
    if administrator.get_backend_name() != "postgresql":
        raise ConfigurationError(f"expected PostgreSQL, was {administrator.get_backend_name()}: {_ADVICE}")
    wanted = _wanted(settings, administrator)
    engine = connect(administrator.render_as_string(hide_password=False))
    try:
        with (
            exclusive(engine, "prepare-server"),
            engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            prepared = [_prepare(connection, url) for url in wanted]
    finally:
        engine.dispose()
    return command.Result({"prepared": prepared}, "\n".join(map(_told, prepared)))


def _wanted(settings: Settings, administrator: URL) -> list[URL]:
    """One URL for each database; the platform's and the ledger's may be the same."""
    mlflow = settings.mlflow.database_url
    named = {
        "AUTOTRADER_DATABASE__URL": settings.database_url,
        "AUTOTRADER_DATABASE__LEDGER_URL": settings.ledger_url,
        "AUTOTRADER_MLFLOW__DATABASE_URL": mlflow.get_secret_value() if mlflow else "",
    }
    by_database: dict[str, URL] = {}
    passwords: dict[str, str] = {}
    for variable, text in named.items():
        url = parse_url(text) if text else None
        if url is None or url.get_backend_name() != "postgresql":
            raise ConfigurationError(f"{variable}: expected a URL of PostgreSQL, was another or none: set it")
        if not (url.username and url.password and url.database):
            raise ConfigurationError(
                f"{variable}: expected a role, a password and a database in it: name them"
            )
        if url.username == administrator.username:
            raise Refused(f"{variable}: expected a role of its own, was the administrator {url.username}")
        if passwords.setdefault(url.username, str(url.password)) != url.password:
            raise Refused(f"{variable}: expected one password for role {url.username}, was a second one")
        if by_database.setdefault(url.database, url).username != url.username:
            raise Refused(f"{variable}: expected one owner of database {url.database}, was a second one")
    return list(by_database.values())


def _prepare(connection: Connection, url: URL) -> Prepared:
    role, database = str(url.username), str(url.database)
    made_role = not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = :name", role)
    if made_role:
        _run(connection, "CREATE ROLE %I LOGIN", role)
    # A restore makes a database beside the one that runs, and changes their names.
    # The password is hashed here: the server logs such statements as they come.
    _run(connection, "ALTER ROLE %I LOGIN CREATEDB PASSWORD %L", role, _verifier(connection, url))
    # Who is no superuser gives a database to roles alone that it is a member of.
    _run(connection, "GRANT %I TO CURRENT_USER", role)
    made_database = not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = :name", database)
    if made_database:
        _run(connection, "CREATE DATABASE %I OWNER %I", database, role)
    else:
        _run(connection, "ALTER DATABASE %I OWNER TO %I", database, role)
    return Prepared(role, database, made_role, made_database)


def _exists(connection: Connection, query: str, name: str) -> bool:
    return connection.scalar(sa.text(query), {"name": name}) is not None


def _run(connection: Connection, template: str, *words: str) -> None:
    """A statement that takes no parameters, its words quoted by the server."""
    given = {f"word{n}": word for n, word in enumerate(words)}
    names = "".join(f", CAST(:{name} AS text)" for name in given)
    statement = connection.scalar(
        sa.text(f"SELECT format(:template{names})"), {"template": template, **given}
    )
    connection.exec_driver_sql(str(statement).replace("%", "%%"))


def _verifier(connection: Connection, url: URL) -> str:
    driver: Any = connection.connection.driver_connection
    made: bytes = driver.pgconn.encrypt_password(
        str(url.password).encode(), str(url.username).encode(), b"scram-sha-256"
    )
    return made.decode()


def _told(prepared: Prepared) -> str:
    role = "made" if prepared.made_role else "there, its password set"
    database = "made" if prepared.made_database else "there, its owner set"
    return f"role {prepared.role}: {role}; database {prepared.database}: {database}"


if __name__ == "__main__":
    raise SystemExit(command.run(prepare_server))
