"""Steps by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotrader import command
from autotrader.bootstrap import provides
from autotrader.domain.errors import ConfigurationError, ExitCode
from autotrader.pipelines.run_step import STEPS, run_step, step
from autotrader.ports.events import EventType


def test_an_unknown_step_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"data\.commit_bars.*was 'data\.conquer'"):
        run_step("data.conquer", {})


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({}, r"expected plan_ingestion to be given \['run_key'\].*was \[\]"),
        ({"run_key": "r", "speed": 3}, r"was \['run_key', 'speed'\]"),
        ({"run_key": "r", "lake": "mine"}, r"was \['lake', 'run_key'\]"),
    ],
    ids=["left out", "unknown", "a port"],
)
def test_arguments_that_are_not_the_steps_own_are_refused(key: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run_step("data.plan_ingestion", key)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({"mode": "backfill"}, "expected start_date with mode backfill, was empty"),
        (
            {"mode": "backfill", "start_date": "last week"},
            "expected start_date as YYYY-MM-DD, was 'last week'",
        ),
        ({"venues": ["nasdaq"]}, "expected venues of binance, ibkr, oanda, was nasdaq"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_a_venue_is_asked(
    key: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_CLOCK__MARKET_TIME", "2024-03-01T00:00:00+00:00")
    monkeypatch.setenv("AUTOTRADER_BINANCE__REST_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=message):
        run_step("data.plan_ingestion", {"run_key": "r", **key})


def test_a_step_gets_its_ports_and_returns_plain_json(home: object) -> None:
    key = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 2, "error": "no answer"}
    assert run_step("alerts.task_failed", key) is True
    assert run_step("alerts.task_failed", key) is False
    from autotrader.bootstrap import Container
    from autotrader.config.settings import load_settings

    (alert,) = Container(load_settings()).events.recent(type=EventType.ALERT)
    assert alert.message == "d.t[2] failed: no answer"


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_is_there_and_all_that_is_not_plain_is_provided(name: str) -> None:
    function = command.load(STEPS[name])
    hints = {k: hint for k, hint in command._hints(function).items() if k != "return"}
    ports = {k for k, hint in hints.items() if provides(hint)}
    assert ports, f"{name} has no port"
    assert not {k for k in hints.keys() - ports if "autotrader" in str(hints[k])}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "data.conquer"], "was 'data.conquer'"),
        (["--name", "data.commit_bars", "--key", "{"], "expected --key to be a JSON object"),
        (["--name", "data.commit_bars", "--key", "[]"], "expected --key to be a JSON object, was list"),
    ],
)
def test_by_hand_a_mistake_exits_with_2_and_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(step, [*words, "--json"]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert message in json.loads(printed.out)["message"]
    assert "Traceback" not in printed.err


def test_who_asks_from_elsewhere_finds_the_result_in_a_file(
    home: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    key = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "error": "no answer"}
    words = ["--name", "alerts.task_failed", "--key", json.dumps(key), "--result", str(file)]
    assert command.run(step, words) == ExitCode.DONE
    assert json.loads(file.read_text()) == {"result": True}
    assert [f.name for f in tmp_path.iterdir() if f.is_file()] == ["result.json"]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ('{"venues": ["nasdaq"], "run_key": "r"}', "expected venues of binance"),
        ("[]", "expected --key to be a JSON object"),
    ],
)
def test_and_so_the_error_with_its_kind(
    key: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_CLOCK__MARKET_TIME", "2024-03-01T00:00:00+00:00")
    file = tmp_path / "result.json"
    words = ["--name", "data.plan_ingestion", "--key", key, "--result", str(file)]
    assert command.run(step, words) == ExitCode.USAGE
    error = json.loads(file.read_text())["error"]
    assert error["type"] == "ConfigurationError"
    assert told in error["message"]


def test_an_error_that_nobody_planned_is_told_too_and_shows_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS, "test.broken", "posixpath:relpath")
    file = tmp_path / "result.json"
    with pytest.raises(ValueError, match="no path specified"):
        command.run(step, ["--name", "test.broken", "--key", '{"path": ""}', "--result", str(file)])
    assert json.loads(file.read_text())["error"]["type"] == "ValueError"
