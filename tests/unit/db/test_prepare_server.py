"""A PostgreSQL server is given roles and databases, however often it is asked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from autotrader.config.settings import DatabaseSettings, MlflowSettings, Settings
from autotrader.db.engine import open_database
from autotrader.db.prepare_server import prepare_server
from autotrader.domain.errors import ConfigurationError, Refused
from tests.services import empty_database

PASSWORD = "it's 100 %/a word?"


class Server:
    """An administrator as RDS gives it, and the settings of a platform on its server."""

    def __init__(self, tmp: Path) -> None:
        self.superuser = empty_database("postgres", tmp)
        self.stem = f"r{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE ROLE {self.stem}_admin LOGIN CREATEROLE CREATEDB PASSWORD 'x'")
        self.admin_url = self.url(f"{self.stem}_admin", "x", "postgres")

    def run(self, statement: str, *words: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            cursor = connection.execute(statement, words or None)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def url(self, role: str, password: str, database: str) -> str:
        given = sa.make_url(self.superuser).set(username=role, password=password, database=database)
        return given.render_as_string(hide_password=False)

    def settings(self, password: str = PASSWORD, **other: str) -> Settings:
        url = self.url(f"{self.stem}_platform", password, f"{self.stem}_platform")
        urls = {"url": url, "ledger_url": url, "admin_url": self.admin_url, **other}
        mlflow = self.url(f"{self.stem}_mlflow", "another", f"{self.stem}_mlflow")
        return Settings(
            database=DatabaseSettings(**{name: SecretStr(text) for name, text in urls.items()}),
            mlflow=MlflowSettings(database_url=SecretStr(mlflow)),
        )

    def is_password(self, role: str, password: str) -> bool:
        """Whether the server would let in who says so (RFC 5803)."""
        [(verifier,)] = self.run("SELECT rolpassword FROM pg_authid WHERE rolname = %s", role)
        rounds_and_salt, keys = str(verifier).removeprefix("SCRAM-SHA-256$").split("$")
        rounds, salt = rounds_and_salt.split(":")
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
        client = hmac.digest(salted, b"Client Key", "sha256")
        return base64.b64encode(hashlib.sha256(client).digest()).decode() == keys.split(":")[0]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    for name in ("platform", "mlflow"):
        made.run(f"DROP DATABASE IF EXISTS {made.stem}_{name} WITH (FORCE)")
    for name in ("platform", "mlflow", "admin"):
        made.run(f"DROP ROLE IF EXISTS {made.stem}_{name}")


def test_an_administrator_who_is_no_superuser_makes_roles_and_databases(server: Server) -> None:
    settings = server.settings()
    result = prepare_server(settings=settings)
    stem = server.stem
    owners = server.run(
        "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1",
        stem,
    )
    assert owners == [(f"{stem}_mlflow", f"{stem}_mlflow"), (f"{stem}_platform", f"{stem}_platform")]
    assert server.is_password(f"{stem}_platform", PASSWORD)
    assert not server.is_password(f"{stem}_platform", "another")
    said = result.text + json.dumps(result.data, default=str)
    assert f"role {stem}_platform: made; database {stem}_platform: made" in said
    assert PASSWORD not in said
    open_database(settings.database_url).dispose()  # its owner makes tables
    # What a restore does: a database beside the one that is there, and its name for the other.
    engine = sa.create_engine(settings.database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {stem}_aside")
        connection.exec_driver_sql(f"ALTER DATABASE {stem}_aside RENAME TO {stem}_other")
        connection.exec_driver_sql(f"DROP DATABASE {stem}_other")
    engine.dispose()


def test_a_second_run_changes_the_password_and_keeps_what_is_there(server: Server) -> None:
    first = server.settings()
    prepare_server(settings=first)
    engine = open_database(first.database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept (n int)"))
    engine.dispose()
    result = prepare_server(settings=server.settings("a-new-one"))
    assert server.is_password(f"{server.stem}_platform", "a-new-one")
    assert "there, its password set; database" in result.text
    with psycopg.connect(
        server.url(f"{server.stem}_platform", "a-new-one", f"{server.stem}_platform")
    ) as made:
        assert made.execute("SELECT count(*) FROM kept").fetchall() == [(0,)]


def test_of_several_that_prepare_at_once_none_is_in_anothers_way(server: Server) -> None:
    settings, start = server.settings(), threading.Barrier(4)

    def prepare(_: int) -> str:
        start.wait()
        return prepare_server(settings=settings).text

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(prepare, range(4)))
    assert sum(f"role {server.stem}_platform: made" in text for text in told) == 1


def test_a_role_has_one_password_and_is_not_the_administrator(server: Server) -> None:
    name = f"{server.stem}_platform"
    two_passwords = server.settings(ledger_url=server.url(name, "other", name))
    with pytest.raises(Refused, match=r"LEDGER_URL: expected one password"):
        prepare_server(settings=two_passwords)
    administrators = server.settings(url=server.url(f"{server.stem}_admin", "x", "mine"))
    with pytest.raises(Refused, match=r"was the administrator"):
        prepare_server(settings=administrators)
    assert server.run("SELECT 1 FROM pg_roles WHERE rolname = %s", name) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "AUTOTRADER_DATABASE__ADMIN_URL"),
        ({"admin_url": "sqlite:////tmp/a.db"}, "expected PostgreSQL"),
        ({"admin_url": "postgresql://a:b@127.0.0.1/postgres"}, "AUTOTRADER_DATABASE__URL: expected a URL of"),
        (
            {"admin_url": "postgresql://a:b@127.0.0.1/postgres", "url": "postgresql://c@127.0.0.1/d"},
            "a password",
        ),
    ],
)
def test_what_cannot_be_prepared_is_told_before_anything_is_asked(
    given: dict[str, str], message: str, tmp_path: Path
) -> None:
    urls = {name: SecretStr(text) for name, text in given.items()}
    with pytest.raises(ConfigurationError, match=message):
        prepare_server(settings=Settings(home=tmp_path, database=DatabaseSettings(**urls)))
