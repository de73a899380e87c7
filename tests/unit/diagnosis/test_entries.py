"""Entries of logs, whoever wrote them, and what they come to."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import load_settings
from autotrader.diagnosis import logs as logs_module
from autotrader.diagnosis.entries import Entry, Level, parse
from autotrader.diagnosis.errors import ErrorGroup, errors
from autotrader.diagnosis.logs import LevelName, logs
from autotrader.diagnosis.masking import Mask
from autotrader.diagnosis.moments import since_when
from autotrader.domain.errors import ConfigurationError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def one(line: str) -> Entry:
    (entry,) = parse([line], "svc")
    return entry


@pytest.mark.parametrize(
    ("line", "level", "message", "at"),
    [
        ('{"timestamp": "2026-03-01T12:00:00.5Z", "level": "error", "logger": "x", "message": "lost"}',
         Level.ERROR, "lost", NOW + timedelta(seconds=0.5)),
        ('{"timestamp": "2026-03-01T12:00:00Z", "level": "warning", "event": "of a task"}',
         Level.WARNING, "of a task", NOW),
        ("2026-03-01T12:00:00.000000Z [info     ] Exited execute loop            [a.b.C] loc=c.py:1",
         Level.INFO, "Exited execute loop", NOW),
        ("2026-03-01 12:00:00.000000+00:00 [error    ] Task failed   [task] dag_id=x", Level.ERROR,
         "Task failed", NOW),
        ("2026/03/01 12:00:00 WARNING mlflow.store: slow", Level.WARNING, "mlflow.store: slow", NOW),
        ("2026/03/01 12:00:00 INFO:     Finished server process [1]", Level.INFO,
         "Finished server process [1]", NOW),
        ('ts=2026-03-01T12:00:00.000Z caller=main.go:1 level=error msg="no such rule" err=x', Level.ERROR,
         "no such rule", NOW),
        ("ERROR:    no address", Level.ERROR, "no address", None),
        ("something printed", Level.INFO, "something printed", None),
        ('{"url": "http://127.0.0.1:1"}', Level.INFO, '{"url": "http://127.0.0.1:1"}', None),
    ],
)  # fmt: skip
def test_every_form_is_understood(line: str, level: Level, message: str, at: datetime | None) -> None:
    entry = one(line)
    assert (entry.level, entry.message, entry.at) == (level, message, at)


def test_a_traceback_belongs_to_its_error() -> None:
    lines = [
        "ERROR:    it broke",
        "Traceback (most recent call last):",
        "  File x",
        "ValueError: 3",
        "INFO: on",
    ]
    first, second = parse(lines, "svc")
    assert first.message == "it broke"
    assert first.more.endswith("ValueError: 3")
    assert second.message == "on"


def test_a_traceback_that_nobody_logged_is_an_error_by_what_was_raised() -> None:
    lines = ["INFO:     begins", "Traceback (most recent call last):", "  File x", "ValueError: expected 3"]
    _, fault = parse(lines, "svc")
    assert (fault.level, fault.message) == (Level.ERROR, "ValueError: expected 3")


def test_values_make_no_other_error_and_the_logger_does() -> None:
    a, b = one("ERROR: lost 3 bars of 'x'"), one("ERROR: lost 700 bars of 'yy'")
    assert a.fingerprint == b.fingerprint != one("ERROR: found 3 bars").fingerprint


def test_an_endless_entry_and_garbage_are_borne() -> None:
    lines = ["ERROR: begins", *["junk"] * 10_000, "\x00\ufffd", "{not json"]
    (entry,) = parse(lines, "svc")
    assert len(entry.more.splitlines()) == 400


# ------------------------------------------------------------------------------ of a home


def write(home: Path, service: str, *lines: str, folder: str = "processes") -> None:
    path = home / folder / f"{service}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def said(level: str, message: str, *, ago: timedelta = timedelta(0), **more: object) -> str:
    at = datetime.now(UTC) - ago
    return json.dumps(
        {"timestamp": at.isoformat(), "level": level, "logger": "x", "message": message, **more}
    )


def found(since: str = "24h", limit: int = 50) -> list[ErrorGroup]:
    result = errors(since=since, limit=limit, settings=load_settings(), clock=SystemWallClock())
    assert isinstance(result.data, dict)
    return list(result.data["errors"])


def shown(**options: object) -> str:
    options = {"settings": load_settings(), "clock": SystemWallClock()} | options
    return logs(**options).text  # type: ignore[arg-type]


def test_errors_are_counted_by_fingerprint_over_processes_with_first_and_last(home: Path) -> None:
    same: dict[str, Any] = {"error": {"fingerprint": "abc"}}
    write(home, "api", said("error", "lost 1", ago=timedelta(hours=2), **same), said("info", "fine"))
    write(home, "controller", said("error", "lost 2", **same), said("critical", "other"))
    many, single = found()
    assert (many.fingerprint, many.count, many.services) == ("abc", 2, ("api", "controller"))
    assert many.first
    assert many.last
    assert timedelta(hours=1.9) < many.last - many.first < timedelta(hours=2.1)
    assert (single.count, single.sample.splitlines()[0]) == (1, "other")


def test_old_errors_are_left_out_and_a_limit_says_so(home: Path) -> None:
    write(home, "api", said("error", "old", ago=timedelta(hours=30)), said("error", "a"), said("error", "b"))
    assert {group.sample for group in found()} == {"a", "b"}
    assert len(found("31h")) == 3
    assert len(found(limit=1)) == 1


def test_tasks_of_airflow_and_prediction_services_are_read_too(home: Path) -> None:
    detail: dict[str, Any] = {"error_detail": [{"exc_type": "BadData", "exc_value": "no bars"}]}
    write(home, "attempt=1", said("error", "Task failed", **detail), folder="airflow/logs/dag_id=d/task_id=t")
    write(home, "serving", said("error", "no model"), folder="deployment/processes/blue")
    groups = {group.services: group for group in found()}
    assert "BadData: no bars" in groups["airflow-tasks",].sample
    assert ("blue-serving",) in groups


def test_samples_hold_no_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_BINANCE__API_SECRET", "s3cr3t-of-the-venue")
    write(home, "api", said("error", "refused s3cr3t-of-the-venue"), said("error", 'sent {"token": "tkn-7"}'))
    text = "".join(group.sample for group in found()) + shown()
    assert "s3cr3t-of-the-venue" not in text
    assert "tkn-7" not in text
    assert "refused ***" in text


@pytest.mark.parametrize("text", ['{"admin": "pw-in-half-a-f', '["pw-in-half-a-f"]'])
def test_a_secret_in_a_damaged_file_is_masked_all_the_same(home: Path, text: str) -> None:
    path = home / "airflow" / "passwords.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert Mask(load_settings()).text("sent pw-in-half-a-f") == "sent ***"


def test_a_url_that_is_none_is_a_secret_as_it_stands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://u:pa[ss@db/x"
    monkeypatch.setenv("POSTGRES_PASSWORD", url)
    assert Mask(load_settings()).text(f"cannot connect to {url}") == "cannot connect to ***"


def test_following_shows_tasks_that_begin_meanwhile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "FIND_SECONDS", 0.0)
    write(home, "api", said("info", "before"))
    looks = 0

    def pause(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            write(home, "attempt=1", said("info", "a new task"), folder="airflow/logs/dag_id=d/task_id=t")
        else:
            raise KeyboardInterrupt

    out = io.StringIO()
    monkeypatch.setattr(logs_module.time, "sleep", pause)
    monkeypatch.setattr(logs_module.sys, "stdout", out)
    with pytest.raises(KeyboardInterrupt):
        shown(follow=True)
    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["before", "task"]


def test_logs_of_all_processes_are_in_order_of_time_and_filtered(home: Path) -> None:
    write(home, "api", said("info", "second", ago=timedelta(hours=5)), said("error", "fourth"))
    write(home, "exporter", said("info", "first", ago=timedelta(hours=9)),
          said("warning", "third", ago=timedelta(hours=1)))  # fmt: skip
    assert [line.split()[-1] for line in shown().splitlines()] == ["first", "second", "third", "fourth"]
    assert [line.split()[-1] for line in shown(level=LevelName.WARNING).splitlines()] == ["third", "fourth"]
    assert [line.split()[-1] for line in shown(service="api").splitlines()] == ["second", "fourth"]
    assert [line.split()[-1] for line in shown(since="2h").splitlines()] == ["third", "fourth"]
    assert [line.split()[-1] for line in shown(lines=1).splitlines()] == ["fourth"]


def test_an_unknown_service_names_those_that_there_are(home: Path) -> None:
    write(home, "api", said("info", "x"))
    with pytest.raises(ConfigurationError, match="expected a service of api, was 'ipa'"):
        shown(service="ipa")


def test_where_nothing_ran_one_line_says_what_starts_it(home: Path) -> None:
    assert shown() == "nothing runs here: `make quickstart` starts the platform"
    assert found() == []
    assert not home.exists()


@pytest.mark.parametrize(
    ("text", "ago"),
    [("30s", timedelta(seconds=30)), ("15m", timedelta(minutes=15)), ("7d", timedelta(days=7))],
)
def test_how_far_back_is_understood(text: str, ago: timedelta) -> None:
    assert since_when(text, NOW) == NOW - ago


@pytest.mark.parametrize("text", ["soon", "", "-1h", "1w", "99999999999d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a time"):
        since_when(text, NOW)
