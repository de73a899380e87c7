"""The DAGs on Amazon MWAA: its packages, our wheel without dependencies, steps in tasks of ECS."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from tests.services import AWS_ENVIRONMENT, local_aws

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2400)]

ROOT = Path(__file__).resolve().parents[2]
END = datetime(2024, 3, 1, tzinfo=UTC)
STEPS = {
    "AUTOTRADER_AWS__REGION": "eu-west-1",
    "AUTOTRADER_CLOCK__MARKET_TIME": END.isoformat(),
    "AUTOTRADER_BINANCE__INSTRUMENTS": "BTCUSDT,ETHUSDT",
}
OPTIONS = {
    "AIRFLOW__AUTOTRADER__STEPS": "ecs",
    "AIRFLOW__AUTOTRADER__ENVIRONMENT": "dev",
    "AIRFLOW__AUTOTRADER__PREFIX": "acme",
    "AIRFLOW__AUTOTRADER__SUBNETS": "subnet-1,subnet-2",
    "AIRFLOW__AUTOTRADER__SECURITY_GROUPS": "sg-1",
    "AIRFLOW__AUTOTRADER__POLL_SECONDS": "0.2",
}


@pytest.fixture(scope="module")
def python() -> str:
    """Interpreter of an environment with what MWAA has."""
    made = subprocess.run(
        [ROOT / "scripts/mwaa-environment.sh"], capture_output=True, text=True, check=False, timeout=1200
    )
    if made.returncode:
        pytest.skip(f"the environment of MWAA cannot be made: {made.stderr.strip()[-300:]}")
    return made.stdout.strip()


@pytest.fixture(scope="module")
def package(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What MWAA is given, with `site` beside it: what pip makes of the requirements there."""
    folder = tmp_path_factory.mktemp("mwaa")
    subprocess.run([sys.executable, ROOT / "deploy/mwaa/package.py", folder / "given"], check=True)
    with zipfile.ZipFile(folder / "given/plugins.zip") as plugins:
        plugins.extractall(folder / "given/plugins")
    requirements = (folder / "given/requirements.txt").read_text()
    here = requirements.replace("/usr/local/airflow/plugins", str(folder / "given/plugins"))
    (folder / "requirements.txt").write_text(here)
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "-q", "--python", python, "--target", folder / "given/site"]
    subprocess.run([*install, "-r", folder / "requirements.txt"], check=True)
    return folder / "given"


class Mwaa:
    """Its interpreter with our wheel, a home and a database of Airflow."""

    def __init__(self, python: str, package: Path, home: Path, environment: Mapping[str, str]) -> None:
        self._python = python
        self.home = home
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOTRADER_", "AIRFLOW_"))}
        self._environment = {
            **outside,
            "PYTHONPATH": str(package / "site"),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(package / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(package / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **environment,
        }

    def run(self, *words: object, timeout_seconds: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._python, *map(str, words)],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )

    def airflow(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "airflow", *words, **options)

    def states(self, dag_id: str) -> tuple[str, dict[str, str]]:
        """Of the newest run, and of its tasks."""
        with sqlite3.connect(self.home / "airflow.db") as database:
            run = database.execute(
                "SELECT run_id, state FROM dag_run WHERE dag_id = ? ORDER BY id DESC", (dag_id,)
            ).fetchone()
            tasks = database.execute(
                "SELECT task_id || '.' || map_index, state FROM task_instance WHERE run_id = ?", (run[0],)
            ).fetchall()
        return run[1], dict(tasks)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("aws")
    market = SimulatedMarket(("BTCUSDT", "ETHUSDT"), seed=11, end=END, days=2)
    with running(StandInExchange(market)) as venue, contextlib.ExitStack() as stack:
        steps = {
            **STEPS,
            "AUTOTRADER_HOME": str(folder / "home"),
            "AUTOTRADER_BINANCE__REST_URL": venue.listening().rest_url,
        }
        program = "tests.fakes.aws.step_tasks"
        url = stack.enter_context(local_aws(folder, program=program, environment=steps))
        s3 = boto3.client("s3", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="testing",
                          aws_secret_access_key="testing")  # fmt: skip
        s3.create_bucket(Bucket="acme-airflow", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield url, folder


@pytest.fixture(scope="module")
def mwaa(python: str, package: Path, aws: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Mwaa:
    environment = {**AWS_ENVIRONMENT, **OPTIONS, "AWS_ENDPOINT_URL": aws[0]}
    mwaa = Mwaa(python, package, tmp_path_factory.mktemp("airflow"), environment)
    done = mwaa.airflow("db", "migrate")
    assert done.returncode == 0, done.stderr[-2000:]
    # An asset is active once the DAGs are known; a task whose outlet is not fails.
    known = mwaa.airflow("dags", "reserialize")
    assert known.returncode == 0, known.stderr[-2000:]
    return mwaa


def tasks_of(aws: tuple[str, Path]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = httpx.get(f"{aws[0]}/_step_tasks", trust_env=False).json()
    return told


def step_of(task: Mapping[str, Any]) -> str:
    return str(task["overrides"]["containerOverrides"][0]["command"][4])


def test_what_mwaa_lacks_is_lacking_here_too(mwaa: Mwaa) -> None:
    code = "import importlib.util as u, json; print(json.dumps([m for m in {} if u.find_spec(m)]))"
    lacking = ["pydantic_settings", "polars", "deltalake", "mlflow", "psycopg"]
    assert json.loads(mwaa.run("-c", code.format(lacking)).stdout) == []
    versions = mwaa.run("-c", "import airflow, sqlalchemy as s; print(airflow.__version__, s.__version__)")
    assert versions.stdout.split() == ["3.0.6", "1.4.54"]


def test_what_it_installs_is_not_stale_and_fits_what_it_has(python: str) -> None:
    checked = subprocess.run(
        [ROOT / "scripts/mwaa-requirements.sh", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert checked.returncode == 0, checked.stderr


def test_every_dag_parses_with_the_wheel_alone(mwaa: Mwaa, package: Path) -> None:
    listed = mwaa.airflow("dags", "list-import-errors", "--output", "json")
    assert listed.returncode == 0, listed.stdout + listed.stderr[-2000:]
    assert "No data found" in listed.stdout or json.loads(listed.stdout) == []
    dags = json.loads(mwaa.airflow("dags", "list", "--output", "json").stdout)
    assert {dag["dag_id"] for dag in dags} == {file.stem for file in (ROOT / "dags").glob("*.py")}


def test_the_data_pipeline_runs_with_each_step_in_a_task_of_its_own(
    mwaa: Mwaa, aws: tuple[str, Path]
) -> None:
    conf = json.dumps({"mode": "backfill", "start_date": "2024-02-29"})
    done = mwaa.airflow("dags", "test", "data_pipeline", "--conf", conf, timeout_seconds=1800)
    state, tasks = mwaa.states("data_pipeline")
    assert (state, set(tasks.values())) == ("success", {"success"}), done.stdout[-3000:]
    ran = [step_of(task) for task in tasks_of(aws)]
    assert len(ran) == len(tasks)
    # One for each instrument; otherwise the output says what was planned.
    assert ran.count("data.extract_market_data") == 2, (ran, sorted(tasks), done.stdout[:4000])
    page = "https://eu-west-1.console.aws.amazon.com/ecs/v2/clusters/autotrader-dev/tasks/"
    assert page in done.stdout + done.stderr
    assert sorted((aws[1] / "home").rglob("*.parquet"))


def test_an_error_of_a_step_fails_its_task_for_good_and_raises_an_alert(
    mwaa: Mwaa, aws: tuple[str, Path]
) -> None:
    done = mwaa.airflow("dags", "test", "backtest", "--conf", '{"instruments": ["DOGE"]}')
    state, tasks = mwaa.states("backtest")
    assert (state, tasks) == ("failed", {"run_backtest.-1": "failed"}), done.stdout[-3000:]
    assert "ConfigurationError: expected instruments of" in done.stdout + done.stderr
    assert [step_of(task) for task in tasks_of(aws)][-2:] == ["backtest.run", "alerts.task_failed"]
