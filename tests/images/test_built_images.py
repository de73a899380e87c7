"""What the builder stages make, made here and started: the same commands, locks and wheel.

The prediction service's always; the two of 1.6 GB each where AUTOTRADER_TEST_LARGE_IMAGES is set.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.images.dockerfiles import ROOT, Dockerfile, build, run
from tests.services import free_port
from tests.serving import TOKEN, body, make_release

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
before_a_release = pytest.mark.skipif(
    not os.environ.get("AUTOTRADER_TEST_LARGE_IMAGES"), reason="1.6 GB: set AUTOTRADER_TEST_LARGE_IMAGES=1"
)

HEAVY = (
    *("airflow", "alembic", "boto3", "deltalake", "fastapi", "httpx", "lightgbm", "mlflow", "onnx", "pandas"),
    *("pip", "polars", "psycopg", "pyarrow", "sklearn", "sqlalchemy", "uv"),
)
PROCESSES = (
    "autotrader.apps.api.serve", "autotrader.apps.controller.control", "autotrader.apps.shipping.ship",
    "autotrader.apps.trader.trade", "autotrader.pipelines.run_step",
    "autotrader.pipelines.data_steps", "autotrader.pipelines.deployment_steps",
    "autotrader.pipelines.training_steps", "autotrader.connectors.binance_ws.source",
    "autotrader.connectors.ibkr_connector.source", "autotrader.connectors.oanda.source",
)  # fmt: skip
DRAIN_SECONDS = 120.0
STEPS = tuple(name for name in PROCESSES if ".apps." not in name)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("serving", tmp_path_factory.mktemp("serving"))


@contextmanager
def large(name: str, folder: Path) -> Iterator[Path]:
    """Of more than a gigabyte: not kept for longer than needed."""
    try:
        yield build(name, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def importable(python: Path, names: tuple[str, ...]) -> list[str]:
    program = f"from importlib.util import find_spec; print([n for n in {names!r} if find_spec(n)])"
    return list(json.loads(run([python, "-c", program], cwd=python.parent).stdout.replace("'", '"')))


def test_nothing_that_trains_stores_or_talks_to_clouds_is_in_the_prediction_service(serving: Path) -> None:
    assert importable(serving / "autotrader/bin/python", HEAVY) == []


def test_the_image_holds_the_wheel_and_not_the_tests_or_a_checkout(serving: Path) -> None:
    python = serving / "autotrader/bin/python"
    where = run([python, "-c", "import autotrader; print(autotrader.__file__)"], cwd=serving).stdout
    assert Path(where.strip()).is_relative_to(serving / "autotrader/lib")
    assert importable(python, ("tests",)) == []


def test_the_command_of_the_prediction_service_serves_and_ends_when_it_is_told(
    serving: Path, tmp_path: Path
) -> None:
    runtime = Dockerfile("serving").runtime
    port = free_port()
    place = {
        "/release": str(make_release(tmp_path / "release")),
        "/predictions": str(tmp_path / "predictions"),
        "0.0.0.0": "127.0.0.1",  # noqa: S104
        "8000": str(port),
    }
    words = [place.get(word, word) for word in runtime.last("CMD").words]
    environment = {
        "PATH": f"{serving / 'autotrader/bin'}:/usr/bin:/bin",
        "AUTOTRADER_HOME": str(tmp_path / "home"),
        "AUTOTRADER_SERVING__TOKEN": TOKEN,
        "AUTOTRADER_SERVING__DRAIN_SECONDS": str(DRAIN_SECONDS),
        "HEALTH_URL": runtime.environment["HEALTH_URL"].replace(":8000/", f":{port}/"),
    }
    check = json.loads(runtime.last("HEALTHCHECK").text.partition(" CMD ")[2])
    healthy = [shutil.which(check[0], path=environment["PATH"]), *check[1:]]
    assert subprocess.run(healthy, env=environment, capture_output=True, check=False).returncode != 0

    program = shutil.which(words[0], path=environment["PATH"])
    process = subprocess.Popen(
        [str(program), *words[1:]],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        assert said, process.stderr.read()
        assert json.loads(said)["version"] == "v1.2.3"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            assert client.get("/health").status_code == 200
            asked = {"Authorization": f"Bearer {TOKEN}"}
            assert client.post("/predict", json=body(), headers=asked).status_code == 200
        assert subprocess.run(healthy, env=environment, check=False).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DRAIN_SECONDS / 2) == 0, "nobody is waited for"
    finally:
        process.kill()
        process.communicate()


@before_a_release
def test_every_process_of_the_platform_can_be_imported_and_airflow_is_not_among_them(tmp_path: Path) -> None:
    with large("platform", tmp_path / "image") as place:
        bin_folder = place / "autotrader/bin"
        program = "".join(
            f"import {name}\n" for name in (*PROCESSES, "mlflow", "boto3", "psycopg", "lightgbm")
        )
        run([bin_folder / "python", "-c", program], cwd=tmp_path)
        assert importable(bin_folder / "python", ("airflow", "pytest", "pip", "uv")) == []
        assert "trade" in run([bin_folder / "autotrader", "--help"], cwd=tmp_path).stdout
        assert (bin_folder / "mlflow").exists()
        module = Dockerfile("platform").runtime.last("CMD").words[2]
        run([bin_folder / "python", "-m", module, "--help"], cwd=tmp_path)


@before_a_release
def test_airflow_has_its_executors_our_dags_and_what_their_steps_need(tmp_path: Path) -> None:
    with large("airflow", tmp_path / "image") as place:
        python = place / "autotrader/bin/python"
        environment = {
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PATH": f"{place / 'autotrader/bin'}:{os.environ['PATH']}",
        }
        program = "from airflow.providers.celery.executors.celery_executor import CeleryExecutor\n"
        program += "".join(f"import {name}\n" for name in (*STEPS, "redis", "psycopg2"))
        run([python, "-c", program], cwd=tmp_path, environment=environment)
        dags = sorted((place / "airflow/dags").glob("*.py"))
        assert [dag.name for dag in dags] == sorted(dag.name for dag in (ROOT / "dags").glob("*.py"))
        said = run([python, ROOT / "tests/dags/parse_dags.py", *dags], cwd=tmp_path, environment=environment)
        assert {dag.stem for dag in dags} <= set(json.loads(said.stdout.splitlines()[-1]))
        assert (place / "airflow/plugins").is_dir()
