"""Migrations: what they make, and that nothing interrupts or doubles them."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command as alembic
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import autotrader.db.schema
from autotrader.db.engine import connect, open_database
from autotrader.db.schema import HEAD, LEDGER_HEAD, migrate, revision
from autotrader.db.tables import METADATA
from tests.killing import run_at_once, run_killed
from tests.services import empty_database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_database(request.param, tmp_path)


def _open(url: str) -> None:
    open_database(url).dispose()


def _open_and_die(url: str, statement: int) -> None:
    engine = connect(url)
    seen = 0

    @sa.event.listens_for(engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    migrate(engine)


def test_the_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    with open_database(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_head_is_the_newest_revision_and_revisions_are_numbered_in_order() -> None:
    config = Config()
    folder = Path(autotrader.db.schema.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    scripts = ScriptDirectory.from_config(config)
    newest_first = [script.revision for script in scripts.walk_revisions()]
    assert scripts.get_heads() == [HEAD]
    assert newest_first == sorted(newest_first, reverse=True)


def test_no_revision_after_the_ledgers_newest_changes_its_table(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trials() -> tuple[list[str], list[str]]:
        found = sa.inspect(connect(url))
        return [str(c) for c in found.get_columns("trials")], [str(i) for i in found.get_indexes("trials")]

    with monkeypatch.context() as older:
        older.setattr(autotrader.db.schema, "HEAD", LEDGER_HEAD)
        _open(url)
    before = trials()
    _open(url)
    assert trials() == before


def test_opening_again_changes_nothing_and_does_not_load_alembic(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_database(url)
    assert revision(engine) == HEAD
    monkeypatch.setattr(alembic, "upgrade", None)
    migrate(engine)


def test_a_database_of_a_newer_version_is_used_as_it_is(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert revision(open_database(url)) == "9999"


def test_threads_of_a_process_migrate_each_its_own_database(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(8)]
    with ThreadPoolExecutor(len(urls)) as pool:
        list(pool.map(_open, urls))
    assert [revision(connect(url)) for url in urls] == [HEAD] * len(urls)
    tables = [sa.inspect(connect(url)).get_table_names() for url in urls]
    assert tables == [tables[0]] * len(urls)


@pytest.mark.integration
def test_processes_that_open_an_empty_database_at_once_migrate_it_once(url: str) -> None:
    assert run_at_once(4, _open, url) == [False] * 4
    assert revision(connect(url)) == HEAD


@pytest.mark.integration
@pytest.mark.parametrize("statement", [1, 5, 9, 13])
def test_a_migration_that_is_killed_leaves_the_database_as_it_was(url: str, statement: int) -> None:
    assert run_killed(_open_and_die, url, statement)
    assert sa.inspect(connect(url)).get_table_names() == []
    assert revision(open_database(url)) == HEAD
