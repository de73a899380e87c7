"""The DAG files keep the contract, explain themselves, and are cheap to parse, on both Airflows."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dags").glob("*.py"))
OLDEST_AIRFLOW = "3.0.6"  # the newest that Amazon MWAA offers

# dag_id: schedule, retries, minutes between them, deadline in hours, tasks in the contract's order.
CONTRACT: dict[str, tuple[str | None, int, float, float | None, list[str]]] = {
    "data_pipeline": (
        "0 2 * * *",
        2,
        5,
        2,
        [
            "extract_market_data",
            "archive_raw_data",
            "validate_data",
            "transform_features",
            "load_to_feature_store",
            "check_data_health",
        ],
    ),
    "training_pipeline": (
        "0 3 * * 0",
        1,
        30,
        6,
        [
            "prepare_training_data",
            "train_models",
            "evaluate_models",
            "validate_model",
            "register_model",
            "trigger_deployment",
        ],
    ),
    "deployment_pipeline": (
        None,
        0,
        0,
        None,
        [
            "pre_deploy_checks",
            "deploy_green",
            "run_integration_tests",
            "shadow",
            "canary_rollout",
            "gradual_rollout.quarter",
            "gradual_rollout.half",
            "gradual_rollout.all",
            "finalize_deployment",
            "rollback",
        ],
    ),
    "feature_health_check": (
        "0 * * * *",
        2,
        2,
        0.25,
        [
            "detect_feature_drift",
            "check_feature_quality",
            "monitor_model_performance",
            "generate_health_report",
        ],
    ),
    "close_of_market": ("5 16 * * 1-5", 2, 2, 1 / 3, ["plan_close", "load_equity_bars"]),
    "daily_summary": (
        "30 16 * * 1-5",
        2,
        5,
        0.5,
        ["check_market_day", "build_summary", "mail_summary"],
    ),
    "weekly_report": ("0 18 * * 0", 2, 5, 0.5, ["build_report", "mail_report"]),
    "backtest": (None, 0, 1, None, ["run_backtest"]),
}


def parse_with(python: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [python, str(ROOT / "tests/dags/parse_dags.py"), *map(str, FILES)],
            env={**os.environ, "AIRFLOW_HOME": home, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return parsed


@functools.cache
def dags() -> dict[str, Any]:
    return parse_with(sys.executable)


def test_each_file_holds_the_dag_it_is_named_after() -> None:
    assert {name: dag["dag_id"] for name, dag in dags().items()} == {f.stem: f.stem for f in FILES}


@pytest.mark.parametrize("dag_id", CONTRACT)
def test_schedule_retries_deadline_and_tasks_are_those_of_the_contract(dag_id: str) -> None:
    dag = dags()[dag_id]
    schedule, retries, minutes, deadline_hours, tasks = CONTRACT[dag_id]
    assert (dag["schedule"], dag["deadline_hours"]) == (schedule, deadline_hours)
    assert {(t["retries"], t["retry_minutes"]) for t in dag["tasks"].values()} == {(retries, minutes)}
    assert [task for task in dag["order"] if task in tasks] == tasks


@pytest.mark.parametrize("dag_id", CONTRACT)
def test_every_dag_runs_one_at_a_time_without_catching_up_and_alerts_on_failure(dag_id: str) -> None:
    dag = dags()[dag_id]
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
    assert {t["owner"] for t in dag["tasks"].values()} == {"autotrader"}
    assert all(t["has_failure_callback"] for t in dag["tasks"].values())


@pytest.mark.parametrize("dag_id", CONTRACT)
def test_the_trigger_form_explains_every_field_and_the_dag_explains_itself(dag_id: str) -> None:
    dag = dags()[dag_id]
    assert len(dag["doc"]) > 100
    for name, param in dag["params"].items():
        assert param["description"], name
        assert param["schema"]["title"], name


def test_fetching_and_features_fan_out() -> None:
    tasks = dags()["data_pipeline"]["tasks"]
    fanned = {name for name, task in tasks.items() if task["mapped"]}
    assert fanned == {"extract_market_data", "archive_raw_data", "validate_data", "transform_features"}
    assert dags()["training_pipeline"]["tasks"]["train_models"]["mapped"]


def test_assets_record_lineage() -> None:
    outlets = {
        asset: task
        for dag in dags().values()
        for task, described in dag["tasks"].items()
        for asset in described["outlets"]
    }
    assert outlets == {"bars": "commit_bars", "features": "load_to_feature_store", "model": "register_model"}


def test_only_the_end_of_a_rollout_decides_what_its_run_came_to() -> None:
    tasks = dags()["deployment_pipeline"]["tasks"]
    assert {name for name, task in tasks.items() if task["is_teardown"]} == {"rollback"}
    assert not tasks["rollback"]["fails_run"]


def test_production_is_signed_for_by_one_role_after_the_other_before_anything_else() -> None:
    assert dags()["deployment_pipeline"]["order"][:3] == [
        "sign_off_quant",
        "sign_off_risk",
        "pre_deploy_checks",
    ]


@pytest.fixture
def sign_offs_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Sequence[object]]]:
    """The sign-off tasks as a DAG file gets them on that Airflow."""
    import airflow

    module = "autotrader.adapters.airflow_sign_off"

    def made(version: str) -> Sequence[object]:
        monkeypatch.setattr(airflow, "__version__", version)
        sys.modules.pop(module, None)
        found: Sequence[object] = importlib.import_module(module).sign_offs()
        return found

    yield made
    sys.modules.pop(module, None)


def test_an_airflow_without_a_human_in_the_loop_has_no_forms(
    sign_offs_on: Callable[[str], Sequence[object]],
) -> None:
    assert len(sign_offs_on("3.1.0")) == 2
    assert sign_offs_on(OLDEST_AIRFLOW) == []


def test_forms_that_are_there_and_do_not_import_are_no_reason_to_go_on_without(
    sign_offs_on: Callable[[str], Sequence[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.standard.operators.hitl", None)
    with pytest.raises(ImportError, match="hitl"):
        sign_offs_on("3.3.2")
    assert sign_offs_on(OLDEST_AIRFLOW) == []


def test_parsing_imports_nothing_heavy() -> None:
    assert {name: dag["heavy"] for name, dag in dags().items()} == {f.stem: [] for f in FILES}


@pytest.mark.integration
@pytest.mark.timeout(1200)
def test_the_same_dags_parse_on_the_newest_airflow_that_mwaa_offers(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    python = tmp_path / "venv/bin/python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(tmp_path / "venv")], check=True)
    packages = [f"apache-airflow=={OLDEST_AIRFLOW}", "structlog"]
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *packages], check=True)
    for dag_id, dag in parse_with(str(python)).items():
        # That one has no human in the loop: `autotrader approve` signs there.
        newest = [task for task in dags()[dag_id]["order"] if not task.startswith("sign_off_")]
        assert dag["order"] == newest


@pytest.mark.parametrize(
    ("expression", "unpaused", "first"),
    [
        ("0 2 * * *", "2026-11-21T02:00:30", "2026-11-22T02:00"),
        ("0 3 * * 0", "2026-11-22T09:00", "2026-11-29T03:00"),
        ("0 * * * *", "2026-11-22T09:04", "2026-11-22T10:00"),
    ],
)
def test_a_dag_unpaused_right_after_its_hour_waits_for_the_next_one(
    expression: str, unpaused: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable
    from airflow.timetables import trigger
    from airflow.timetables.base import TimeRestriction

    from autotrader.adapters.airflow_dag import cron

    now = datetime.fromisoformat(unpaused).replace(tzinfo=UTC)
    monkeypatch.setattr(trigger, "utcnow", lambda: now)
    of_scheduler = decode_timetable(encode_timetable(cron(expression)))
    info = of_scheduler.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    assert info is not None
    assert info.run_after == datetime.fromisoformat(first).replace(tzinfo=UTC)
