"""The registry's commands from argv to exit code, against MLflow's stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotrader import command
from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_registry import MlflowRegistry
from autotrader.config.settings import load_settings
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.ports.registry import Alias, ModelStatus
from autotrader.registry.__main__ import VERBS
from tests.fakes.mlflow_server import Refusal, StandInMlflow, serve
from tests.models import candidate
from tests.services import fresh_database

NAME = "autotrader-strategy"


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInMlflow]:
    """Champion v1.1.0, previous v1.0.0, rejected v1.2.0."""
    mlflow = StandInMlflow()
    with serve(mlflow) as uri:
        monkeypatch.setenv("AUTOTRADER_MLFLOW__TRACKING_URI", uri)
        monkeypatch.setenv("AUTOTRADER_DATABASE__URL", fresh_database("sqlite", tmp_path))
        engine = open_database(load_settings().database_url)
        registry = MlflowRegistry(uri, engine, SqlEventLog(engine), SystemWallClock())
        for key in "abc":
            status = ModelStatus.REJECTED if key == "c" else ModelStatus.CANDIDATE
            given = candidate(tmp_path, key, mlflow.make_run(), status=status)
            registry.register(given, actor="training")
        registry.set_alias(NAME, Alias.CHAMPION, "v1.1.0", reason="rollout", actor="controller")
        registry.set_alias(NAME, Alias.PREVIOUS, "v1.0.0", reason="rollout", actor="controller")
        yield mlflow


def run(line: str) -> int:
    return command.run_noun("autotrader.registry", VERBS, [*line.split(), "--json"])


ROLLBACK = "rollback --from-version v1.1.0 --to-version {} --reason slow"


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [
        ("get --version v1.1.0", 0),
        ("get --version champion", 0),
        ("get --version v9.9.9", 1),
        ("get --version v1.1.0 --model another", 1),
        ("mark_failed --version v1.1.0 --reason slow", 0),
        ("mark_failed --version v9.9.9 --reason slow", 1),
        ("mark_failed --version v1.1.0 --reason=", 2),
        ("make_candidate --version v1.1.0 --reason slow", 0),
        ("make_candidate --version v1.2.0 --reason slow", 4),
        ("make_candidate --version v9.9.9 --reason slow", 1),
        ("make_candidate --version v1.1.0 --reason=", 2),
        (ROLLBACK.format("v1.0.0"), 0),
        (ROLLBACK.format("v1.2.0"), 4),
        (ROLLBACK.format("v9.9.9"), 1),
        (ROLLBACK.format("v1.1.0"), 4),
        ("rollback --from-version v1.0.0 --to-version v1.1.0 --reason slow", 4),
    ],
)
def test_the_exit_code_says_what_came_of_it(
    mlflow: StandInMlflow, line: str, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line) == exit_code
    printed = json.loads(capsys.readouterr().out)
    assert ("error" in printed) is (exit_code != 0)


@pytest.mark.parametrize("line", ["get", "mark_failed --version v1.0.0", "rollback --reason slow", "promote"])
def test_a_command_that_is_not_complete_is_a_mistake_in_its_use(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = run(line)
    except SystemExit as leaving:
        code = leaving.code
    assert code == 2
    assert capsys.readouterr().out == ""


def test_a_rollback_without_mlflow_is_made_says_what_is_pending_and_exits_with_3(
    mlflow: StandInMlflow, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(method: str, path: str) -> None:
        raise Refusal("TEMPORARILY_UNAVAILABLE", "down", 502)

    mlflow.before = refuse
    assert run(ROLLBACK.format("v1.0.0")) == 3
    message = json.loads(capsys.readouterr().out)["message"]
    assert "champion v1.1.0 -> v1.0.0 (slow)" in message
    assert run("get --version champion") == 0
    assert json.loads(capsys.readouterr().out)["semver"] == "v1.0.0"
    assert mlflow.models[NAME]["champion"] == "2"
    mlflow.before = lambda _method, _path: None
    assert run(ROLLBACK.format("v1.0.0")) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False
    assert mlflow.models[NAME] == {"champion": "1", "previous": "2"}


def test_what_was_done_is_in_the_event_log(mlflow: StandInMlflow) -> None:
    run("mark_failed --version v1.1.0 --reason slow")
    newest = SqlEventLog(open_database(load_settings().database_url)).recent(limit=1)[0]
    assert (newest.severity, newest.data["new"], newest.data["reason"]) == ("warning", "failed", "slow")
