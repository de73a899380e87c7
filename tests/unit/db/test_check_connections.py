"""The command that says whether the databases answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from autotrader import command
from autotrader.config.settings import DatabaseSettings, Settings
from autotrader.db import schema
from autotrader.db.check_connections import check_connections
from autotrader.db.engine import connect, open_database
from autotrader.db.schema import LEDGER_HEAD
from autotrader.domain.errors import ExitCode
from tests.services import empty_database, fresh_database


def settings(url: str, ledger: str | None = None) -> Settings:
    return Settings(database=DatabaseSettings(url=SecretStr(url), ledger_url=SecretStr(ledger or url)))


def test_a_migrated_database_is_fine(tmp_path: Path) -> None:
    result = check_connections(settings=settings(fresh_database("sqlite", tmp_path)))
    assert result.exit_code is ExitCode.DONE
    assert "answers, and is current" in result.text


def test_a_database_that_does_not_exist_yet_is_not_made(tmp_path: Path) -> None:
    result = check_connections(settings=settings(f"sqlite:///{tmp_path}/new/autotrader.db"))
    assert result.exit_code is ExitCode.DONE
    assert "not there yet" in result.text
    assert not (tmp_path / "new").exists()


def test_a_database_that_is_behind_fails_and_is_left_alone(tmp_path: Path) -> None:
    url = fresh_database("sqlite", tmp_path)
    with open_database(url).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    result = check_connections(settings=settings(url))
    assert result.exit_code is ExitCode.FAILED
    assert "behind: expected revision" in result.text
    with connect(url).begin() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "0000"


def test_a_platform_that_was_just_migrated_is_fine_before_anybody_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, ledger = fresh_database("sqlite", tmp_path), empty_database("sqlite", tmp_path / "ledger")
    with monkeypatch.context() as older:
        older.setattr(schema, "HEAD", LEDGER_HEAD)
        open_database(ledger).dispose()
    result = check_connections(settings=settings(url, ledger))
    assert result.exit_code is ExitCode.DONE
    assert result.text.count("answers, and is current") == 2


def test_a_ledger_without_its_table_is_made_by_the_first_training_and_not_missed(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    ledger = empty_database("sqlite", tmp_path / "ledger")
    with connect(ledger).begin():  # the file, as a server's new database
        pass
    result = check_connections(settings=settings(fresh_database("sqlite", tmp_path), ledger))
    assert result.exit_code is ExitCode.DONE
    assert "is empty: the first training makes its table" in result.text


def test_the_platforms_own_database_must_not_be_empty(tmp_path: Path) -> None:
    with connect(empty_database("sqlite", tmp_path)).begin():
        pass
    result = check_connections(settings=settings(empty_database("sqlite", tmp_path)))
    assert result.exit_code is ExitCode.FAILED


def test_one_database_that_does_not_answer_is_enough_for_exit_code_3(tmp_path: Path) -> None:
    away = "postgresql://autotrader:hunter2@127.0.0.1:9/autotrader"
    result = check_connections(settings=settings(fresh_database("sqlite", tmp_path), away))
    assert result.exit_code is ExitCode.UNREACHABLE
    assert "database: sqlite" in result.text
    shown = result.text + json.dumps(command.to_plain(result.data))
    assert "hunter2" not in shown


def test_a_file_that_is_no_database_fails(tmp_path: Path) -> None:
    (tmp_path / "autotrader.db").write_bytes(b"x" * 5000)
    result = check_connections(settings=settings(f"sqlite:///{tmp_path}/autotrader.db"))
    assert result.exit_code is ExitCode.FAILED


@pytest.mark.integration
def test_a_servers_connections_are_counted(tmp_path: Path) -> None:
    result = check_connections(settings=settings(fresh_database("postgres", tmp_path)))
    report = command.to_plain(result.data)["databases"][0]
    assert report["exit_code"] == 0
    assert 0 < report["connections"] < report["max_connections"]
    assert report["latency_ms"] > 0
    assert (report["pool_size"], report["pool_taken"]) == (5, 0)


def test_the_command_reads_the_settings_and_prints_json(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(check_connections, ["--json"]) == 0
    reports = json.loads(capsys.readouterr().out)["databases"]
    assert [r["name"] for r in reports] == ["database", "trial_ledger"]
    assert str(home) in reports[0]["url"]
