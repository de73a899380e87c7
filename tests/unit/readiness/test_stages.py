"""A stage ends, whatever it looks at, and is never taken for well."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autotrader.config.settings import Environment, Settings, load_settings
from autotrader.db.check_connections import DatabaseReport
from autotrader.db.engine import open_database
from autotrader.db.schema import HEAD
from autotrader.domain.errors import ExitCode, Unreachable
from autotrader.readiness import database, stages
from autotrader.readiness.check import check
from autotrader.readiness.findings import Finding, State, failed, not_applicable, ok, warning, worst
from autotrader.readiness.stages import STAGES, Stage, StageName, run
from tests.services import free_port, fresh_database


def stage(look: Callable[..., Iterator[Finding]], *, inside: bool = False) -> Stage:
    name = StageName.LAKE
    if inside:
        return Stage(name, "of the test", "do this", look_inside=look)
    return Stage(name, "of the test", "do this", look=look)


def test_there_are_ten_each_with_a_way_to_look_and_something_to_do() -> None:
    assert [each.name for each in STAGES] == list(StageName)
    assert len(STAGES) == 10
    assert all(each.todo and (each.look or each.look_inside) for each in STAGES)


def test_a_stage_is_as_bad_as_its_worst_finding() -> None:
    found = [not_applicable("a", ""), ok("b", ""), warning("c", "", "x"), failed("d", "", "x")]
    for count, state in enumerate(State, start=1):
        assert worst(found[:count]) is state
    assert worst([]) is State.NOT_APPLICABLE


def test_what_hangs_fails_after_its_patience_and_what_was_found_before_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs, for_ever = threading.Event(), threading.Event()

    class Patient(threading.Thread):
        """Is lost patience with once it hangs: a busy machine may take long to begin it."""

        def join(self, timeout: float | None = None) -> None:
            assert hangs.wait(60)
            super().join(timeout)

    def look() -> Iterator[Finding]:
        yield ok("first", "1 of 1")
        hangs.set()
        for_ever.wait(60)
        yield ok("second", "never")

    monkeypatch.setattr(stages, "threading", SimpleNamespace(Thread=Patient))
    report = run(stage(look), load_settings(), patience_seconds=0.2)
    for_ever.set()
    assert [f.subject for f in report.findings] == ["first", "of the test"]
    assert report.state is State.FAILED
    assert "gave no answer within 0.2 s" in report.reason
    assert report.todo == "do this"


@pytest.mark.parametrize("error", [Unreachable("expected an answer, was password=hunter2"), ValueError("x")])
def test_what_breaks_fails_and_tells_no_secret(error: Exception) -> None:
    def look() -> Iterator[Finding]:
        yield ok("first", "1 of 1")
        raise error

    report = run(stage(look), load_settings())
    assert report.state is State.FAILED
    assert "hunter2" not in report.reason
    assert len(report.findings) == 2


def test_ports_are_injected() -> None:
    def look(*, settings: Settings) -> Iterator[Finding]:
        yield ok("home", str(settings.home))

    report = run(stage(look), load_settings())
    assert report.reason == f"home: {load_settings().home}"


def must_not_run() -> Iterator[Finding]:
    yield ok("opened", "it was")


def test_a_database_that_is_not_there_is_not_made_by_looking(home: Path) -> None:
    report = run(stage(must_not_run, inside=True), load_settings())
    assert (report.state, len(report.findings)) == (State.FAILED, 1)
    assert "not looked at without it" in report.reason
    assert not (home / "autotrader.db").exists()


def of_database() -> dict[str, Finding]:
    return {finding.subject: finding for finding in database.look(settings=load_settings())}


def a_report(settings: Settings, **changes: Any) -> DatabaseReport:
    """Of a database that has just been made; how long this machine took for a query says nothing here."""
    open_database(settings.database_url).dispose()
    (report,) = (r for r in database.reports_of(settings) if r.name == "database")
    assert report.latency_ms is not None
    return replace(report, **{"latency_ms": 0.3, **changes})


def test_a_schema_behind_the_code_fails_with_both_revisions_and_stays(home: Path) -> None:
    home.mkdir()
    fresh_database("sqlite", home)
    with sqlite3.connect(home / "autotrader.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0002'")
    found = of_database()["database"]
    assert found.state is State.FAILED
    assert f"expected revision {HEAD}, was 0002" in found.reason
    assert run(stage(must_not_run, inside=True), load_settings()).state is State.FAILED
    with sqlite3.connect(home / "autotrader.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0002",)]


def test_a_current_database_is_ok_with_its_figures(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    fresh_database("sqlite", home)
    monkeypatch.setattr("autotrader.db.check_connections._latency_ms", lambda _: 0.3)
    found = of_database()["database"]
    assert found.state is State.OK, found
    assert f"revision {HEAD}, 0.3 ms a query" in found.reason
    assert run(stage(must_not_run, inside=True), load_settings()).state is State.OK


def test_a_database_that_is_away_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://autotrader:hunter2@127.0.0.1:{free_port()}/autotrader"
    monkeypatch.setenv("AUTOTRADER_DATABASE__URL", url)
    found = of_database()["database"]
    assert found.state is State.FAILED
    assert "hunter2" not in found.reason
    assert "AUTOTRADER_DATABASE__URL" in found.todo


def test_a_file_as_database_of_production_fails(home: Path) -> None:
    home.mkdir()
    settings = load_settings()
    report = a_report(settings)
    production = settings.model_copy(update={"environment": Environment.PRODUCTION})
    assert database.judge(report, settings).state is State.OK
    assert database.judge(report, production).state is State.FAILED


@pytest.mark.parametrize(("taken", "state"), [(10, State.OK), (81, State.WARNING), (96, State.FAILED)])
def test_connections_that_run_out_are_told(home: Path, taken: int, state: State) -> None:
    home.mkdir()
    settings = load_settings()
    found = database.judge(a_report(settings, connections=taken, max_connections=100), settings)
    assert found.state is state
    assert f"{taken} of 100 connections" in found.reason


@pytest.mark.parametrize(("milliseconds", "state"), [(100.0, State.OK), (100.1, State.WARNING)])
def test_a_slow_database_is_told(home: Path, milliseconds: float, state: State) -> None:
    home.mkdir()
    settings = load_settings()
    found = database.judge(a_report(settings, latency_ms=milliseconds), settings)
    assert found.state is state
    assert f"{milliseconds} ms a query" in found.reason


def test_the_command_looks_at_what_is_asked_for_and_fails_if_one_does(home: Path) -> None:
    result = check(only=(StageName.CONFIGURATION, StageName.CAPACITY), settings=load_settings())
    assert result.exit_code is ExitCode.FAILED  # there is no home
    assert "configuration and secrets" in result.text
    assert "lake" not in result.text.partition("To do")[0]
    assert str(home) in result.text
    home.mkdir()
    result = check(only=(StageName.CONFIGURATION,), details=True, settings=load_settings())
    assert result.exit_code is ExitCode.DONE
    assert "1 stages: 0 failed" in result.text
