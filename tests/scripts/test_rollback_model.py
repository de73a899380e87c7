"""Model rollbacks by script: in order, resumable, verified, refused where they must be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from autotrader.domain.rollout import FAST, Color, Stage
from autotrader.ports.events import EventType
from tests.fakes.mlflow_server import Refusal
from tests.scripts.platform import (
    Platform,
    killing_python,
    operations,
    platform,
    run_script,
    waiting_python,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AUTO = "rollback_model_auto.sh"
MANUAL = "rollback_model_manual.sh"
WHY = ("--reason", "it loses money", "--yes")
STEPS = ["traffic", "alert", "drain", "scale_down", "registry"]
MEASURED = re.compile(r"traffic back after ([\d.]+) s .*whole rollback ([\d.]+) s")


@pytest.fixture
def stage(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with platform(home, {}, monkeypatch) as made:
        yield made


def steps_of(operation: Path) -> list[str]:
    lines = (operation / "journal").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("done ")]


def alerts(stage: Platform) -> int:
    return len(stage.events.recent(type=EventType.ALERT))


def require_left(stage: Platform) -> None:
    """v1.0.0 has all traffic again, and nothing runs of v1.1.0."""
    assert stage.live() == ("v1.0.0", Color.BLUE, {Color.BLUE})
    assert stage.champion() == "v1.0.0"
    assert stage.running() == {"blue": "v1.0.0", "green": None}


def test_the_live_version_is_left_in_order_measured_and_the_rollback_is_rolled_back(
    stage: Platform, record_property: Callable[[str, object], None]
) -> None:
    with stage.controller():
        done = run_script(AUTO, "v1.1.0", "dev", *WHY)
        assert done.returncode == 0, done.stderr
        require_left(stage)
        (operation,) = operations(stage.home)
        assert steps_of(operation) == STEPS
        assert "it loses money" in (operation / "journal").read_text()
        assert "registry, traffic and recorded state agree" in (operation / "log").read_text()
        measured = MEASURED.search(done.stderr)
        assert measured, done.stderr
        traffic, whole = map(float, measured.groups())
        record_property("traffic_seconds", traffic)
        record_property("whole_seconds", whole)
        assert 0 < traffic < 60
        assert traffic <= whole < 300
        (alert,) = stage.events.recent(type=EventType.ALERT)
        assert (alert.severity, "v1.1.0 was left for v1.0.0: it loses money" in alert.message) == (
            "critical",
            True,
        )

        again = run_script(AUTO, "v1.1.0", "dev", *WHY)
        assert (again.returncode, "nothing is left to do" in again.stderr) == (0, True), again.stderr
        require_left(stage)

        back = run_script(MANUAL, "v1.1.0", "v1.0.0", "dev", "--reason", "it was not the model", "--yes")
        assert back.returncode == 0, back.stderr
    assert stage.live() == ("v1.1.0", Color.GREEN, {Color.GREEN})
    assert (stage.champion(), stage.running()) == ("v1.1.0", {"blue": None, "green": "v1.1.0"})


def test_a_script_killed_at_each_step_goes_on_when_it_is_run_again(stage: Platform, tmp_path: Path) -> None:
    modules = ["deployment.emergency_rollback", "alerts.send", "deployment.blue_green"]
    modules += ["deployment.check_agreement"]
    kills = [(when, f"autotrader.{m}") for m in modules for when in ("before", "after")]
    with stage.controller():
        for when, module in kills:
            killer = killing_python(tmp_path, when, module)
            killed = run_script(AUTO, "v1.1.0", "dev", *WHY, environment={"AUTOTRADER_PYTHON": str(killer)})
            assert killed.returncode == -9, killed.stderr
            (operation,) = operations(stage.home)
            assert not (operation / "ended").exists()
        done = run_script(AUTO, "v1.1.0", "dev", *WHY)
    assert done.returncode == 0, done.stderr
    assert "going on with" in done.stderr
    assert "drain: done before" in done.stderr
    require_left(stage)
    assert len(operations(stage.home)) == 1
    assert (
        len([r for r in stage.records.recent() if r.version == "v1.0.0"]) == 2
    )  # the first one, and the way back
    assert len(stage.events.recent(type=EventType.ALERT)) == 1


def test_a_rollout_under_way_is_taken_back(stage: Platform) -> None:
    with stage.controller():
        stage.begin("v1.2.0", FAST, Stage.SHADOW)
        done = run_script(AUTO, "v1.2.0", "dev", *WHY, "--mark-failed")
    assert done.returncode == 0, done.stderr
    assert stage.live() == ("v1.1.0", Color.GREEN, {Color.GREEN})
    assert stage.running() == {"blue": None, "green": "v1.1.0"}
    assert stage.registry.get("autotrader-strategy", "v1.2.0").status.value == "failed"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((AUTO, "v9.9.9", "dev"), 1, "v9.9.9"),
        ((AUTO, "v1.1.0", "production"), 4, "expected settings of production, was dev"),
        ((MANUAL, "v1.3.0", "v1.1.0", "dev"), 4, "rejected"),
        ((MANUAL, "v9.9.9", "v1.1.0", "dev"), 1, "v9.9.9"),
        ((MANUAL, "v1.2.0", "v1.0.0", "dev"), 4, "expected v1.0.0 to be live, was v1.1.0 on green"),
    ],
)
def test_what_must_not_be_done_is_refused_and_nothing_changes(
    stage: Platform, words: tuple[str, ...], code: int, said: str
) -> None:
    done = run_script(*words, *WHY)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert stage.live() == ("v1.1.0", Color.GREEN, {Color.GREEN})


def test_a_dry_run_and_a_wrong_confirmation_change_nothing(stage: Platform) -> None:
    shown = run_script(AUTO, "v1.1.0", "dev", "--reason", "it loses money", "--dry-run")
    assert (shown.returncode, "all traffic goes from v1.1.0 to v1.0.0 on blue" in shown.stderr) == (0, True)
    for typed in ("", "yes\n", "production\n"):
        asked = run_script(AUTO, "v1.1.0", "dev", "--reason", "it loses money", typed=typed)
        assert (asked.returncode, "nothing was changed" in asked.stderr) == (4, True), asked.stderr
    assert stage.live() == ("v1.1.0", Color.GREEN, {Color.GREEN})
    assert operations(stage.home) == []


def test_a_version_that_never_becomes_ready_gets_no_traffic(stage: Platform) -> None:
    stage.work.behaviour["v1.2.0"] = {"ready_after_seconds": 999.0}
    stage.work.ready_seconds = 2.0
    with stage.controller():
        done = run_script(MANUAL, "v1.2.0", "v1.1.0", "dev", *WHY)
    assert (done.returncode, "not ready within 2 s" in done.stderr) == (1, True), done.stderr
    assert stage.live() == ("v1.1.0", Color.GREEN, {Color.GREEN})
    assert (operations(stage.home)[0] / "ended").read_text() == "1\n"


def test_without_a_controller_traffic_is_back_and_the_rest_is_pending_until_there_is_one(
    stage: Platform,
) -> None:
    pending = run_script(AUTO, "v1.1.0", "dev", *WHY)
    assert (pending.returncode, "run the same command again" in pending.stderr) == (3, True), pending.stderr
    assert "traffic is on v1.0.0; still to do: scale_down" in pending.stderr
    assert stage.live() == ("v1.0.0", Color.BLUE, {Color.BLUE})
    assert alerts(stage) == 1
    assert steps_of(*operations(stage.home)) == ["traffic", "alert", "drain", "registry"]
    with stage.controller():
        done = run_script(AUTO, "v1.1.0", "dev", *WHY)
    assert done.returncode == 0, done.stderr
    require_left(stage)
    assert (alerts(stage), "registry: done before" in done.stderr) == (1, True)


def test_a_registry_that_is_down_is_pending_and_shown_later(stage: Platform) -> None:
    def refuse(method: str, path: str) -> None:
        raise Refusal("TEMPORARILY_UNAVAILABLE", "down for the test", 503)

    with stage.controller():
        stage.mlflow.before = refuse
        pending = run_script(AUTO, "v1.1.0", "dev", *WHY, "--mark-failed")
        assert (pending.returncode, "pending: " in pending.stderr) == (3, True), pending.stderr
        assert "traffic is on v1.0.0; still to do: failed, registry" in pending.stderr
        assert stage.live() == ("v1.0.0", Color.BLUE, {Color.BLUE})
        assert alerts(stage) == 1
        stage.mlflow.before = lambda _method, _path: None
        done = run_script(AUTO, "v1.1.0", "dev", *WHY, "--mark-failed")
    assert done.returncode == 0, done.stderr
    require_left(stage)
    assert (alerts(stage), "scale_down: done before" in done.stderr) == (1, True)
    assert stage.registry.get("autotrader-strategy", "v1.1.0").status.value == "failed"


def test_started_twice_the_second_is_refused_and_told_who_is_at_work(stage: Platform, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    python = {"AUTOTRADER_PYTHON": str(waiting_python(tmp_path, "autotrader.deployment.blue_green", go_on))}
    with ThreadPoolExecutor() as pool:  # the first is at work, its traffic back, until the second was told
        asked = [pool.submit(run_script, AUTO, "v1.1.0", "dev", *WHY, environment=python) for _ in range(2)]
        wait(asked, return_when=FIRST_COMPLETED)
        go_on.touch()
        done = [future.result() for future in asked]
    refused = [one for one in done if one.returncode == 4]
    assert len(refused) == 1, [one.stderr for one in done]
    assert re.search(
        r"another one is at work, pid \d+ of \S+@\S+ since .*rollback_model_auto", refused[0].stderr
    )
    assert stage.live() == ("v1.0.0", Color.BLUE, {Color.BLUE})


def test_two_operators_on_two_machines_leave_the_version_once(stage: Platform, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "deployment").symlink_to(stage.home / "deployment")  # the colours both see
    homes = [{}, {"AUTOTRADER_HOME": str(elsewhere)}]
    with stage.controller(), ThreadPoolExecutor() as pool:
        asked = [pool.submit(run_script, AUTO, "v1.1.0", "dev", *WHY, environment=e) for e in homes]
        done = [future.result() for future in asked]
    assert {one.returncode for one in done} <= {0, 4}, [one.stderr for one in done]
    assert 0 in {one.returncode for one in done}
    require_left(stage)
    ways_back = [rollout for rollout in stage.records.recent() if rollout.requested_by != "test"]
    assert {(r.version, r.previous_version, r.candidate) for r in ways_back} == {
        ("v1.0.0", "v1.1.0", Color.BLUE)
    }


def test_deploying_goes_on_after_a_kill_and_says_when_nothing_is_left(
    stage: Platform, tmp_path: Path
) -> None:
    shutil.rmtree(stage.home / "operations", ignore_errors=True)
    words = ("deploy_model.sh", "v1.2.0", "dev", "--reason", "better", "--profile", "fast", "--yes")
    with stage.controller():
        killer = killing_python(tmp_path, "after", "autotrader.deployment.deploy")
        killed = run_script(*words, environment={"AUTOTRADER_PYTHON": str(killer)})
        assert killed.returncode == -9, killed.stderr
        done = run_script(*words)
        assert done.returncode == 0, done.stderr
        again = run_script(*words)
    assert (again.returncode, "already: nothing is left to do" in again.stderr) == (0, True), again.stderr
    assert stage.live() == ("v1.2.0", Color.BLUE, {Color.BLUE})
    assert [r.version for r in stage.records.recent()].count("v1.2.0") == 1
