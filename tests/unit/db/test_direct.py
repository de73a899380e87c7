"""A transaction of the driver's keeps what one of SQLAlchemy's promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from autotrader.db.columns import Utc
from autotrader.db.direct import writing
from autotrader.db.engine import connect, reading
from autotrader.db.inserts import add_values, insert_new, put_values, set_once
from autotrader.domain.errors import BadData, Unreachable
from tests.services import fresh_database, postgres


@dataclass(frozen=True)
class Note:
    """Fields in another order than the columns."""

    text: str
    read_at: datetime | None
    id: str


NOTES = sa.Table(
    "notes",
    sa.MetaData(),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("read_at", Utc),
    sa.Column("text", sa.Text),
)
AT = datetime(2024, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
FIRST, SECOND = Note("one %s", None, "a"), Note("two", AT, "b")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    engine = connect(fresh_database(request.param, tmp_path))
    with engine.begin() as connection:
        NOTES.drop(connection, checkfirst=True)
        NOTES.create(connection)
    yield engine
    with engine.begin() as connection:
        NOTES.drop(connection)
    engine.dispose()


def notes(engine: sa.Engine) -> list[Note]:
    query = sa.select(NOTES.c.text, NOTES.c.read_at, NOTES.c.id).order_by(NOTES.c.id)
    with reading(engine) as connection:
        return [Note(*row) for row in connection.execute(query)]


def test_what_is_written_is_there_as_it_was(engine: sa.Engine) -> None:
    with writing(engine) as transaction:
        add_values(transaction, NOTES, [FIRST, SECOND])
        add_values(transaction, NOTES, [])
    assert notes(engine) == [FIRST, SECOND]


def test_of_a_row_that_is_there_each_insert_knows_what_to_do(engine: sa.Engine) -> None:
    with writing(engine) as transaction:
        add_values(transaction, NOTES, [FIRST])
        add_values(transaction, NOTES, [Note("not this", AT, "a"), SECOND])
        put_values(transaction, NOTES, [Note("but this", AT, "b")])
        assert insert_new(transaction, NOTES, {"id": "c", "text": "new"})
        assert not insert_new(transaction, NOTES, {"id": "c", "text": "old"})
        set_once(transaction, NOTES, [Note("ignored", AT, "a"), Note("ignored", AT, "b")], "read_at")
    assert notes(engine) == [Note("one %s", AT, "a"), Note("but this", AT, "b"), Note("new", None, "c")]


@pytest.mark.parametrize("reason", [ValueError("of the caller"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing_and_the_next_one_is_as_if_it_had_not_been(
    engine: sa.Engine, reason: BaseException
) -> None:
    def fail() -> None:
        with writing(engine) as transaction:
            add_values(transaction, NOTES, [FIRST])
            raise reason

    with pytest.raises(type(reason)):
        fail()
    assert notes(engine) == []
    with writing(engine) as transaction:
        add_values(transaction, NOTES, [SECOND])
    assert notes(engine) == [SECOND]


def test_a_mistake_in_a_statement_stays_the_drivers(engine: sa.Engine) -> None:
    mistake = engine.dialect.loaded_dbapi.Error
    with pytest.raises(mistake, match="nothing"), writing(engine) as transaction:
        transaction.exec_driver_sql("SELECT * FROM nothing", ())


def test_a_writer_waits_for_another_and_says_so_if_it_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_database("sqlite", tmp_path)
    monkeypatch.setattr("autotrader.db.engine.BUSY_TIMEOUT_SECONDS", 0.05)
    other = connect(url)
    with connect(url).begin(), pytest.raises(Unreachable, match="locked"), writing(other):
        pass


def test_a_damaged_file_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "autotrader.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(BadData, match="backup"), writing(connect(f"sqlite:///{tmp_path}/autotrader.db")):
        pass


def test_a_server_that_is_not_there_is_unreachable_and_its_password_unseen() -> None:
    engine = connect("postgresql://autotrader:hunter2@127.0.0.1:9/autotrader")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9/") as caught, writing(engine):
        pass
    assert "hunter2" not in str(caught.value)


@pytest.mark.integration
def test_a_connection_that_the_server_ended_is_replaced(tmp_path: Path) -> None:
    with postgres(tmp_path) as url:
        engine = connect(url)

        def session() -> int:
            with writing(engine) as transaction:
                number: int = transaction.exec_driver_sql("SELECT pg_backend_pid()", ()).fetchone()[0]
                return number

        def end(backend: int) -> None:
            with psycopg.connect(url, autocommit=True) as administrator:
                administrator.execute("SELECT pg_terminate_backend(%s, 60000)", (backend,))

        first = session()
        assert session() == first, "one of the pool's"
        end(first)
        second = session()
        assert second != first

        def end_within() -> None:
            with writing(engine) as transaction:
                end(second)
                transaction.exec_driver_sql("SELECT 1", ())

        with pytest.raises(Unreachable):
            end_within()
        assert session() not in (first, second)
