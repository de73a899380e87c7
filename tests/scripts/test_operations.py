"""Make targets of operations, as processes, on a small platform that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from autotrader.adapters.processes import ProcessSpec, ProcessTable
from tests.scripts.platform import ROOT, platform
from tests.services import free_port

pytestmark = pytest.mark.component

# Of the contract, section 15.
TARGETS = """
install quickstart test check status down clean restart logs scale backup restore release infra-check
prod-check monitoring-setup monitoring-start monitoring-stop monitoring-status metrics-api metrics-worker
alerts-list diag-full diag-errors diag-performance
""".split()  # noqa: SIM905
START = "make quickstart"


def make(
    target: str, *words: str, environment: Mapping[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """A target as an operator types it; the environment is taken for installed."""
    return subprocess.run(
        ["make", "--silent", "-o", ".venv/installed", target, *words],
        capture_output=True, text=True, check=False, timeout=timeout, cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


def until(done: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def page(url: str) -> str:
    """What is there; empty while nothing is."""
    try:
        answer = httpx.get(url, timeout=10, trust_env=False)
        return answer.text if answer.is_success else ""
    except httpx.TransportError:
        return ""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small platform with its prediction services; API, exporter and delivery of alerts beside them."""
    home = tmp_path_factory.mktemp("operations") / "home"
    ports = {name: str(free_port()) for name in
             ("API_", "MONITORING__EXPORTER", "AIRFLOW_", "TRADING__METRICS", "MONITORING__PROMETHEUS",
              "MONITORING__ALERTMANAGER")}  # fmt: skip
    environment = {"AUTOTRADER_HOME": str(home), "AUTOTRADER_BINANCE__API_SECRET": "s3cr3t-of-binance"}
    environment |= {f"AUTOTRADER_{name}_PORT": port for name, port in ports.items()}
    environment["AUTOTRADER_BINANCE__REST_URL"] = f"http://127.0.0.1:{free_port()}"
    with pytest.MonkeyPatch.context() as patch, platform(home, environment, patch):
        table = ProcessTable(home / "processes")
        try:
            for name in ("api", "exporter", "alerts"):
                table.start(ProcessSpec(name, [sys.executable, "-m", f"autotrader.apps.{name}"], {}))
            of_api = f"http://127.0.0.1:{ports['API_']}/metrics"
            until(lambda: 'component_health{component="database"' in page(of_api))
            until(lambda: bool(page(f"http://127.0.0.1:{ports['MONITORING__EXPORTER']}/metrics")))
            yield home
        finally:
            table.stop_all()


@pytest.fixture
def home(running: Path) -> Path:
    """That of the platform, in place of every test's own."""
    return running


@pytest.fixture
def quiet(home: Path) -> Iterator[Path]:
    """The log of a process that says nothing by itself, with one entry."""
    log = home / "processes" / "quiet.log"
    log.write_text('{"timestamp": "2026-01-01T00:00:00Z", "level": "info", "message": "an entry"}\n')
    yield log
    log.unlink()


@pytest.fixture
def nothing(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which nothing was started."""
    return {"AUTOTRADER_HOME": str(tmp_path / "empty"), "AUTOTRADER_DATABASE__URL": ""}


def test_every_target_of_the_contract_is_there_with_a_line_of_help() -> None:
    shown = make("help").stdout
    assert {line.split()[0] for line in shown.splitlines()} >= set(TARGETS)
    for target in TARGETS:
        assert re.search(rf"^  {target} +\S", shown, re.MULTILINE), target


def test_logs_are_shown_and_filtered(quiet: Path) -> None:
    with quiet.open("a") as file:
        entry = {"timestamp": "2026-01-01T00:00:00Z", "level": "error", "logger": "x"}
        file.write(json.dumps({**entry, "message": "the key s3cr3t-of-binance was refused"}) + "\n")
    shown = make("logs", "SERVICE=quiet", "LEVEL=ERROR")
    assert (shown.returncode, shown.stdout.splitlines()) == (
        0,
        ["2026-01-01 00:00:00 ERROR    quiet                  the key *** was refused"],
    )
    assert make("logs", "SERVICE=quiet", "LEVEL=ERROR", "SINCE=1h").stdout.strip() == "no entry of this kind"
    assert make("logs", "SERVICE=api").stdout.strip() != "no entry of this kind"
    assert make("logs", "SERVICE=ipa").returncode != 0


def test_logs_are_followed_until_interrupted(quiet: Path) -> None:
    words = ("--service", "quiet", "--follow", "--lines", "1")
    follower = subprocess.Popen(
        [sys.executable, "-m", "autotrader.diagnosis.logs", *words],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert follower.stdout
        follower.stdout.readline()
        with quiet.open("a") as file:
            file.write('{"timestamp": "2100-01-01T00:00:00Z", "level": "info", "message": "a new')
            file.flush()
            time.sleep(0.7)  # half a line is none
            file.write(' entry"}\n')
        line = follower.stdout.readline()
        assert line == "2100-01-01 00:00:00 INFO     quiet                  a new entry\n"
    finally:
        follower.terminate()
        follower.communicate(timeout=60)


def test_the_pages_of_metrics_can_be_read(home: Path) -> None:
    api = make("metrics-api")
    assert (api.returncode, "component_health{component=database}" in api.stdout) == (0, True), api.stderr
    assert "MiB" in api.stdout
    worker = make("metrics-worker")
    assert worker.returncode == 0, worker.stderr
    assert worker.stdout.startswith("exporter  http://127.0.0.1:")


def test_open_alerts_are_listed_with_their_runbook(home: Path) -> None:
    assert make("alerts-list").stdout.strip() == "no alerts"
    sent = [sys.executable, "-m", "autotrader.alerts.send", "--level", "critical", "--message", "of the test"]
    subprocess.run(sent, check=True, capture_output=True, timeout=240, cwd=ROOT)
    until(lambda: "of the test" in make("alerts-list").stdout)
    assert "alerts/OperatorAlert.md" in make("alerts-list").stdout


def test_errors_are_counted_by_kind(home: Path) -> None:
    with (home / "processes" / "api.log").open("a") as file:
        for number in range(3):
            entry = {"level": "error", "logger": "x", "message": f"lost {number} bars"}
            file.write(json.dumps({**entry, "timestamp": f"2100-01-01T00:00:0{number}Z"}) + "\n")
    shown = make("diag-errors", "SINCE=1h")
    assert shown.returncode == 0, shown.stderr
    assert re.search(
        r"^ +3 x [0-9a-f]{16}  api  2100-01-01 00:00:00 to 2100-01-01 00:00:02$", shown.stdout, re.MULTILINE
    )
    assert "lost 2 bars" in shown.stdout


def test_performance_has_processes_latencies_and_queries(home: Path) -> None:
    shown = make("diag-performance", "ARGS=--sample-seconds 0.3")
    assert shown.returncode == 0, shown.stderr
    for name in ("api", "exporter", "blue-", "green-"):
        assert re.search(rf"^  {name}\S* +[\d.]+ cores +[\d.]+ MiB", shown.stdout, re.MULTILINE), name
    assert "database_query_duration_seconds{operation=select}" in shown.stdout
    assert "http_request_duration_seconds" in shown.stdout


def test_the_full_report_is_one_file_without_secrets(home: Path, tmp_path: Path) -> None:
    shown = make("diag-full", f"ARGS=--folder {tmp_path}")
    assert shown.returncode == 0, shown.stderr
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    texts = {file.name: file.read_text() for file in tmp_path.glob("*/*.txt")}
    assert "s3cr3t-of-binance" not in "".join(texts.values())
    assert "live        v1.1.0 on green" in texts["deployment.txt"]
    assert re.search(
        r"^api +pid \d+, since .* listens on 127.0.0.1:\d+$", texts["processes.txt"], re.MULTILINE
    )


def test_the_check_before_production_runs_from_make(home: Path) -> None:
    shown = make("prod-check", "ARGS=--only registry --patience 120")
    assert (shown.returncode, "1 stages: 0 failed" in shown.stdout) == (0, True), shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("SERVICE=trader", "REPLICAS=2"), "two on one account would both send orders"),
        (("SERVICE=airflow-worker", "REPLICAS=1000"), "expected 0 to 64 replicas"),
        (("SERVICE=airflow-worker",), "--replicas"),
        (("SERVICE=airflow-worker", "REPLICAS=3"), "AIRFLOW__CORE__PARALLELISM"),
    ],
)
def test_scaling_says_what_it_cannot_do(
    home: Path, words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    no_docker = f"{Path(sys.executable).parent}:{no_docker_path(tmp_path)}"
    refused = make("scale", *words, environment={"PATH": no_docker})
    assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


def no_docker_path(folder: Path) -> str:
    """What make and a shell need, and no docker."""
    for name in ("make", "bash", "sh", "env", "cat"):
        found = next(Path(p) / name for p in ("/usr/bin", "/bin") if (Path(p) / name).exists())
        (folder / name).symlink_to(found)
    return str(folder)


def test_scaling_asks_docker_compose_where_it_runs_the_service(home: Path, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\ncase "$*" in *" ps "*) echo 0123abcd ;; esac\n'
    )
    docker.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = make("scale", "SERVICE=airflow-worker", "REPLICAS=3", environment=path)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "--scale airflow-worker=3 airflow-worker" in asked[-1]
    assert "--no-recreate" in asked[-1]


@pytest.mark.parametrize(
    "target", ["logs", "diag-errors", "diag-performance", "metrics-api", "metrics-worker"]
)
def test_where_nothing_runs_one_line_says_what_to_do(
    home: Path, nothing: dict[str, str], target: str
) -> None:
    ports = {
        f"AUTOTRADER_{name}_PORT": str(free_port())
        for name in ("API_", "MONITORING__EXPORTER", "SERVING__BLUE", "SERVING__GREEN")
    }
    shown = make(target, environment=nothing | ports)
    assert START in shown.stdout.splitlines()[-1], shown.stdout
    assert not Path(nothing["AUTOTRADER_HOME"]).exists()


def test_a_restart_where_nothing_was_made_says_what_makes_it(home: Path, nothing: dict[str, str]) -> None:
    shown = make("restart", environment=nothing)
    assert shown.returncode != 0
    assert START in shown.stderr
