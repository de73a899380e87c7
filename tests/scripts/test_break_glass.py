"""Traffic away from the candidate with the aws command line alone, against the local AWS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.balancer import REGION, Balancer, make_balancer
from tests.scripts.platform import ROOT, operations, run_script
from tests.services import AWS_ENVIRONMENT, local_aws, set_faults

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("aws") is None, reason="needs aws: apt-get install awscli"),
]

GLASS = "break_glass.sh"
WHY = ("--reason", "the database is gone", "--yes")
IMPATIENT = {"AWS_PATIENCE_SECONDS": "12"}
# With a call that is answered: on a busy machine the command alone takes long to start.
PATIENCE_SECONDS = "240"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture
def balancer(aws: str, monkeypatch: pytest.MonkeyPatch) -> Balancer:
    here = {"AWS_ENDPOINT_URL": aws, "AWS_REGION": REGION, "AWS_PATIENCE_SECONDS": PATIENCE_SECONDS}
    for name, value in (AWS_ENVIRONMENT | here).items():
        monkeypatch.setenv(name, value)
    set_faults(aws)
    return make_balancer(aws)


OWN = {"blue": "blue", "green": "green"}
BROKEN = {"blue": "blue", "green": "blue"}


def test_the_candidate_is_left_and_returned_to(balancer: Balancer, home: Path) -> None:
    shown = run_script(GLASS, "staging", "--reason", "a look", "--dry-run")
    assert (shown.returncode, "dry run: the rule of green is to lead to blue" in shown.stderr) == (0, True), (
        shown.stderr
    )
    assert (balancer.targets(), operations(home)) == (OWN, [])
    refused = run_script(GLASS, "staging", "--reason", "typed wrongly", typed="production\n")
    assert (refused.returncode, balancer.targets()) == (4, OWN)
    done = run_script(GLASS, "staging", "--reason", "the database is gone", typed="staging\n")
    assert (done.returncode, "measured: traffic moved within" in done.stderr) == (0, True), done.stderr
    assert balancer.targets() == BROKEN
    assert "the database is gone" in (operations(home)[0] / "journal").read_text()
    again = run_script(GLASS, "staging", *WHY)
    assert (again.returncode, "leads to blue already" in again.stderr) == (0, True), again.stderr
    undone = run_script(GLASS, "staging", "--undo", *WHY)
    assert (undone.returncode, balancer.targets()) == (0, OWN), undone.stderr
    secrets = done.stderr + "".join(p.read_text() for p in (home / "operations").rglob("*") if p.is_file())
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in secrets


def test_who_the_candidate_is_comes_from_the_weights_or_is_asked_for(balancer: Balancer) -> None:
    balancer.show_live(blue=0, green=100)
    assert run_script(GLASS, "staging", *WHY).returncode == 0
    assert balancer.targets() == {"blue": "green", "green": "green"}
    balancer.show_live(blue=50, green=50)
    unclear = run_script(GLASS, "staging", *WHY)
    assert (unclear.returncode, "give --color" in unclear.stderr) == (4, True), unclear.stderr
    assert run_script(GLASS, "staging", "--color", "green", *WHY).returncode == 0
    assert balancer.targets() == {"blue": "green", "green": "blue"}


def test_a_colour_without_a_healthy_target_gets_no_traffic(balancer: Balancer) -> None:
    targets = [{"Id": "10.0.0.1", "Port": 8000}]
    balancer.elb.deregister_targets(TargetGroupArn=balancer.groups["blue"], Targets=targets)
    refused = run_script(GLASS, "staging", *WHY)
    assert (refused.returncode, balancer.targets()) == (4, OWN), refused.stderr


@pytest.mark.parametrize(
    ("fault", "code", "after"),
    [
        ({"action": "ModifyRule", "kind": "error", "code": "AccessDenied", "status": 403}, 1, OWN),
        (
            {
                "action": "ModifyRule",
                "kind": "error",
                "code": "ServiceUnavailable",
                "status": 503,
                "times": 9,
            },
            3,
            OWN,
        ),
        ({"action": "ModifyRule", "kind": "hang", "seconds": 60.0, "times": 9}, 3, OWN),
        ({"action": "DescribeRules", "kind": "error", "code": "ExpiredToken", "status": 403}, 2, OWN),
        ({"action": "DescribeListeners", "kind": "error", "code": "AccessDenied", "status": 403}, 1, OWN),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_call_that_fails_is_told_and_run_again_it_goes_on(
    balancer: Balancer, fault: dict[str, object], code: int, after: dict[str, str]
) -> None:
    set_faults(balancer.url, fault)
    waits = fault["kind"] == "hang"
    failed = run_script(GLASS, "staging", *WHY, environment=IMPATIENT if waits else None)
    assert (failed.returncode, balancer.targets()) == (code, after), failed.stderr
    set_faults(balancer.url)
    done = run_script(GLASS, "staging", *WHY)
    assert (done.returncode, balancer.targets()) == (0, BROKEN), done.stderr


def test_an_answer_that_is_lost_is_found_to_have_been_carried_out(balancer: Balancer) -> None:
    set_faults(balancer.url, {"action": "ModifyRule", "kind": "lost", "times": 9})
    lost = run_script(GLASS, "staging", *WHY)
    assert (lost.returncode, balancer.targets()) == (3, BROKEN), lost.stderr
    set_faults(balancer.url)
    done = run_script(GLASS, "staging", *WHY)
    assert (done.returncode, balancer.targets()) == (0, BROKEN), done.stderr


def test_a_wrong_region_or_environment_is_told(balancer: Balancer) -> None:
    elsewhere = run_script(GLASS, "staging", *WHY, environment={"AWS_REGION": "us-east-1"})
    assert (elsewhere.returncode, "right region and environment?" in elsewhere.stderr) == (1, True), (
        elsewhere.stderr
    )
    other = run_script(GLASS, "production", *WHY)
    assert (other.returncode, "right region and environment?" in other.stderr) == (1, True), other.stderr
    for region in ("", "europe"):
        unset = {"AWS_REGION": region, "AWS_DEFAULT_REGION": ""}
        done = run_script(GLASS, "staging", *WHY, environment=unset)
        assert (done.returncode, "expected a region" in done.stderr) == (2, True), done.stderr
    assert balancer.targets() == OWN


def test_without_the_aws_command_it_says_how_to_get_it(tmp_path: Path) -> None:
    for name in ("bash", "dirname", "sed", "grep", "date", "id", "hostname"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    done = run_script(GLASS, "staging", *WHY, environment={"PATH": str(tmp_path)})
    assert (done.returncode, "apt-get install awscli" in done.stderr) == (2, True), done.stderr
    assert (ROOT / "scripts" / GLASS).exists()
