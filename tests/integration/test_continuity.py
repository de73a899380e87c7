"""Backups, restores, drills and the failover script as processes: killed, on PostgreSQL, on a local AWS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from autotrader.adapters.folder_objects import FolderObjects
from autotrader.config.settings import Settings, load_settings
from autotrader.continuity import sets
from tests.services import AWS_ENVIRONMENT, empty_database, local_aws
from tests.unit.continuity.conftest import add_rows, keys, platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
__all__ = ["platform"]
SCRIPT = Path(__file__).resolve().parents[2] / "scripts/dr_failover.sh"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **AWS_ENVIRONMENT, "AUTOTRADER_LOG__LEVEL": "WARNING", **more}


def run(*words: str, seconds: float = 400, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autotrader.continuity", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=False, env=environment(**more)
    )


def kill_after(seconds: float, *words: str) -> bool:
    """Run the command, and kill it unless it ended before; whether it was killed."""
    command = [sys.executable, "-m", "autotrader.continuity", *words]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        return True
    return False


def moments(*words: str) -> list[float]:
    began = time.monotonic()
    assert run(*words).returncode == 0
    whole = time.monotonic() - began
    return [whole * share for share in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)]


def test_a_backup_that_is_killed_leaves_only_whole_sets(platform: Settings, home: Path) -> None:
    for name in range(60):
        (home / f"archive/2024-01-01/binance/BTCUSDT/{name}.gz").write_bytes(os.urandom(20_000))
    store = FolderObjects(Path(platform.backup_uri))
    for moment in moments("backup"):
        add_rows(platform, f"row {moment}")
        kill_after(moment, "backup")
        done = run("verify")
        assert done.returncode == 0, done.stderr
    time.sleep(1.1)
    assert run("backup").returncode == 0
    assert sets.incomplete_ids(store) == []
    assert not list(home.glob(".backup-*"))


def test_a_restore_that_is_killed_is_run_again_and_ends_well(platform: Settings, home: Path) -> None:
    for name in range(60):
        (home / f"archive/2024-01-01/binance/BTCUSDT/{name}.gz").write_bytes(os.urandom(20_000))
    assert run("backup").returncode == 0
    made = sets.complete_ids(FolderObjects(Path(platform.backup_uri)))[0]
    words = ("restore", "--reason", "a test", "--confirm", made)
    pages = {path.name: path.read_bytes() for path in (home / "archive").rglob("*.gz")}
    for moment in moments(*words):
        add_rows(platform, f"row {moment}")
        kill_after(moment, *words)
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert keys(platform.database_url) == {"first", "second"}
        assert {path.name: path.read_bytes() for path in (home / "archive").rglob("*.gz")} == pages


def test_postgresql_comes_back_and_the_old_one_is_kept(
    platform: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_database("postgres", tmp_path)
    monkeypatch.setenv("AUTOTRADER_DATABASE__URL", url)
    settings = load_settings()
    add_rows(settings, "one", "two")
    assert run("backup").returncode == 0
    add_rows(settings, "three")
    checked = run("verify", "--json")
    assert json.loads(checked.stdout)["sound"], checked.stderr
    made = sets.complete_ids(FolderObjects(Path(settings.backup_uri)))[0]
    refused = run("restore", "--reason", "a test")
    assert refused.returncode == 4, refused.stderr
    done = run("restore", "--reason", "a test", "--confirm", made, "--json")
    assert done.returncode == 0, done.stderr
    assert keys(url) == {"one", "two"}
    aside = next(place for place in json.loads(done.stdout)["moved_aside"] if "postgresql" in place)
    assert keys(aside) == {"one", "two", "three"}


def test_without_its_client_postgresql_is_not_backed_up_and_it_says_why(
    platform: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_database("postgres", tmp_path)
    monkeypatch.setenv("AUTOTRADER_DATABASE__URL", url)
    add_rows(load_settings(), "one")
    done = run("backup", PATH="/nowhere")
    assert done.returncode == 2
    assert "expected the program pg_dump" in done.stderr


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.mark.parametrize(
    "scenario", ["database_loss", "lake_loss", "bucket_object_loss", "complete_rebuild", "region_failover"]
)
def test_a_drill_meets_its_targets(aws: str, scenario: str) -> None:
    done = run("drill", "--scenario", scenario, "--json", AUTOTRADER_AWS__ENDPOINT_URL=aws)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["passed"]
    assert found["rows_compared"] >= 400
    assert found["late_losses"] == found["rows_changed"] == 0
    wrote_afterwards = scenario in ("database_loss", "complete_rebuild", "region_failover")
    assert found["rows_lost"] == (20 if wrote_afterwards else 0)
    assert (found["rpo_seconds"] > 0) is wrote_afterwards


def test_a_region_is_left_on_postgresql_too(aws: str, tmp_path: Path) -> None:
    url = empty_database("postgres", tmp_path)
    within = {"AUTOTRADER_AWS__ENDPOINT_URL": aws, "AUTOTRADER_DATABASE__URL": url}
    httpx.post(f"{aws}/moto-api/reset", timeout=30, trust_env=False).raise_for_status()
    done = run("drill", "--scenario", "region_failover", "--json", **within)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["passed"], found["rows_lost"], found["late_losses"]) == (True, 20, 0)


def test_a_drill_never_touches_aws_itself() -> None:
    assert run("drill", "--scenario", "lake_loss").returncode == 4
    far = run("drill", "--scenario", "lake_loss", AUTOTRADER_AWS__ENDPOINT_URL="https://ecs.amazonaws.com")
    assert far.returncode == 4


def failover(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    regions = {"AUTOTRADER_AWS__REGION": "eu-west-1", "AUTOTRADER_AWS__DR_REGION": "eu-central-1"}
    return subprocess.run(
        [SCRIPT, *words], capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
        env=environment(PYTHON=sys.executable, **regions, **more),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--help",), 0, "usage:"),
        ((), 2, "--to-region"),
        (("--to-region", "eu-central-1"), 2, "--reason"),
        (("--to-region", "eu-central-1", "--reason", ""), 2, "reason"),
        (("--to-region", "eu-central-1", "--reason", " "), 2, "expected a reason"),
        (("--to-region", "us-east-1", "--reason", "x"), 2, "expected region eu-west-1 or eu-central-1"),
        (("--to-region", "eu-central-1", "--reason", "x"), 4, "nothing was changed"),
        (("--to-region", "eu-central-1", "--reason", "x", "--dry-run"), 1, "terraform apply makes"),
    ],
)
def test_the_script_refuses_what_is_wrong(aws: str, words: tuple[str, ...], code: int, said: str) -> None:
    done = failover(*words, AUTOTRADER_AWS__ENDPOINT_URL=aws)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_a_region_that_does_not_answer_is_said_to_be_unreachable() -> None:
    done = failover(
        "--to-region", "eu-central-1", "--reason", "x", "--dry-run",
        AUTOTRADER_AWS__ENDPOINT_URL="http://127.0.0.1:9", AUTOTRADER_AWS__ATTEMPTS="1",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
