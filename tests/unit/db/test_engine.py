"""What an opened database promises."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from autotrader.db.engine import connect, open_database, reading
from autotrader.db.schema import HEAD, revision
from autotrader.db.tables import EVENTS, HOLDS
from autotrader.domain.errors import BadData, ConfigurationError, Unreachable
from tests.services import empty_database, fresh_database, postgres

ROW = {
    "key": "k",
    "type": "DATA",
    "severity": "info",
    "message": "m",
    "actor": "a",
    "at": datetime(2024, 3, 1, tzinfo=UTC),
    "data": {},
}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(fresh_database(request.param, tmp_path))
    yield engine
    engine.dispose()


def test_two_writers_wait_for_each_other_rather_than_fail(engine: sa.Engine) -> None:
    def add(number: int) -> None:
        for _ in range(10):
            with engine.begin() as connection:
                (count,) = connection.execute(sa.select(sa.func.count()).select_from(EVENTS)).one()
                key = f"{number}:{count}"
                connection.execute(sa.insert(EVENTS).values(ROW | {"key": key}))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) == 40


def test_a_reader_sees_one_state_and_holds_nobody_up(engine: sa.Engine) -> None:
    count = sa.select(sa.func.count()).select_from(EVENTS)
    with reading(engine) as reader:
        assert reader.scalar(count) == 0
        with engine.begin() as writer:
            writer.execute(sa.insert(EVENTS).values(ROW))
        assert reader.scalar(count) == 0
    with reading(engine) as reader:
        assert reader.scalar(count) == 1


def test_instants_keep_their_microseconds_and_their_zone(engine: sa.Engine) -> None:
    at = datetime(2024, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    with engine.begin() as connection:
        connection.execute(sa.insert(EVENTS).values(ROW | {"at": at}))
    with reading(engine) as connection:
        assert connection.scalar(sa.select(EVENTS.c.at)) == at


@pytest.mark.parametrize(
    "at",
    [datetime(2024, 3, 1), datetime(2024, 3, 1, tzinfo=timezone(timedelta(hours=1)))],  # noqa: DTZ001
)
def test_an_instant_that_is_not_utc_is_refused(engine: sa.Engine, at: datetime) -> None:
    statement = sa.insert(EVENTS).values(ROW | {"at": at})
    with pytest.raises(sa.exc.StatementError, match="UTC"), engine.begin() as connection:
        connection.execute(statement)


def test_json_refuses_nan_as_postgresql_would(engine: sa.Engine) -> None:
    statement = sa.insert(EVENTS).values(ROW | {"data": {"sharpe": float("nan")}})
    with pytest.raises((sa.exc.StatementError, ValueError), match="JSON"), engine.begin() as connection:
        connection.execute(statement)


def test_a_transaction_that_fails_leaves_nothing(engine: sa.Engine) -> None:
    def insert_twice() -> None:
        with engine.begin() as connection:
            connection.execute(sa.insert(EVENTS).values(ROW))
            connection.execute(sa.insert(EVENTS).values(ROW))

    with pytest.raises(sa.exc.IntegrityError):
        insert_twice()
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) == 0


def test_sqlite_runs_with_a_write_ahead_log_and_foreign_keys(tmp_path: Path) -> None:
    with reading(open_database(fresh_database("sqlite", tmp_path))) as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2, "every commit is on the disk"


def test_a_new_sqlite_database_is_waited_for_while_another_process_prepares_it(tmp_path: Path) -> None:
    url = empty_database("sqlite", tmp_path)
    other = sqlite3.connect(tmp_path / "autotrader.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # SQLite's own patience does not cover the change to write-ahead mode
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(open_database, url)
        with pytest.raises(TimeoutError):
            opened.result(timeout=0.3)
        other.execute("COMMIT")
        assert revision(opened.result(timeout=120)) == HEAD


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "nonsense", "sqlite://", "sqlite:///:memory:", "", "duckdb:///x"]
)
def test_a_database_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        connect(url)


def test_without_its_driver_postgresql_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"autotrader\[postgres\]"):
        connect("postgresql://host/autotrader")


def test_the_folder_of_a_sqlite_database_is_made(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/deep/er/autotrader.db")
    assert (tmp_path / "deep/er/autotrader.db").is_file()


def test_a_file_that_is_no_database_is_bad_data(tmp_path: Path) -> None:
    path = tmp_path / "autotrader.db"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(BadData, match="backup"):
        open_database(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_made_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unreachable, match="folder"):
        open_database(f"sqlite:///{tmp_path}/file/autotrader.db")


def test_a_database_that_stays_locked_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fresh_database("sqlite", tmp_path)
    monkeypatch.setattr("autotrader.db.engine.BUSY_TIMEOUT_SECONDS", 0.05)
    other = connect(url)
    with connect(url).begin(), pytest.raises(Unreachable, match="locked"), other.begin() as connection:
        connection.execute(sa.delete(HOLDS))


def test_a_server_that_is_not_there_is_unreachable_and_its_password_unseen() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9/") as caught:
        open_database("postgresql://autotrader:hunter2@127.0.0.1:9/autotrader")
    assert "hunter2" not in str(caught.value)


@pytest.mark.integration
def test_a_server_that_goes_away_is_unreachable_at_the_next_statement(tmp_path: Path) -> None:
    with postgres(tmp_path) as url:
        engine = open_database(url)
        with reading(engine) as connection:
            connection.execute(sa.select(EVENTS))
    with pytest.raises(Unreachable), engine.begin() as connection:
        connection.execute(sa.select(EVENTS))


def test_a_mistake_in_a_statement_stays_what_it_is(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="nothing"), reading(engine) as connection:
        connection.execute(sa.text("SELECT * FROM nothing"))
