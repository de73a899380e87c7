"""Colours on ECS when AWS, other operators or the tasks themselves misbehave."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autotrader.adapters.ecs_releases import S3Releases
from autotrader.adapters.ecs_services import DIGEST, URI, VERSION
from autotrader.adapters.ecs_target import EcsTarget
from autotrader.config.settings import Settings
from autotrader.domain.errors import (
    BadData,
    ConfigurationError,
    NotFound,
    Refused,
    Throttled,
    Unreachable,
)
from autotrader.domain.rollout import Color
from tests.colours import NAMES, ColoursOnAws, colours_on_aws, stand_in_release
from tests.services import set_faults

# Runs for as long as it is left alone, and answers nothing.
IDLE = ("python", "-c", "import time; time.sleep(600)")
FAMILY = NAMES.task_family("serving-green")


@pytest.fixture(scope="module")
def module_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ColoursOnAws]:
    with colours_on_aws(tmp_path_factory.mktemp("aws"), serve=IDLE, fetch=("true",)) as aws:
        yield aws


@pytest.fixture
def aws(module_aws: ColoursOnAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[ColoursOnAws]:
    for name, value in module_aws.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AUTOTRADER_AWS__ATTEMPTS", "1")
    set_faults(module_aws.url)
    yield module_aws
    set_faults(module_aws.url)
    module_aws.reset()
    for color in Color:  # what another test told the tasks is not of the newest revision any more
        module_aws.register(color, serve=IDLE, fetch=("true",))


_MADE: dict[str, EcsTarget] = {}


def made(**changed: object) -> EcsTarget:
    """One for these settings; kept, for it remembers nothing, and its clients take long to make."""
    settings = Settings()
    aws = settings.aws.model_copy(update=changed)
    settings = settings.model_copy(update={"aws": aws})
    of = f"{settings.environment} {settings.deployment.ecs_endpoint} {aws!r}"
    if of not in _MADE:
        _MADE[of] = EcsTarget(settings, S3Releases(settings))
    return _MADE[of]


@pytest.fixture
def target(aws: ColoursOnAws) -> EcsTarget:
    return made()


def revision(aws: ColoursOnAws, name: str = FAMILY) -> int:
    found = aws.client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]
    return int(found["revision"])


def environment(aws: ColoursOnAws, arn: str) -> list[dict[str, str]]:
    found = aws.client("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]
    return [{e["name"]: e["value"] for e in c["environment"]} for c in found["containerDefinitions"]]


def test_each_container_is_told_the_release_and_all_else_is_terraforms(
    aws: ColoursOnAws, target: EcsTarget, tmp_path: Path
) -> None:
    aws.register(Color.GREEN, serve=IDLE, fetch=("true",), image="autotrader:platform-2")
    release = stand_in_release(tmp_path)
    assert target.start(Color.GREEN, release) == aws.endpoint
    service = aws.service(Color.GREEN)
    told = {
        URI: "s3://tests-models/releases/v1.0.0",
        VERSION: "v1.0.0",
        DIGEST: release.onnx_sha256,
    }
    for container in environment(aws, service["taskDefinition"]):
        assert told.items() <= container.items()
        assert container["AUTOTRADER_AWS__PREFIX"] == NAMES.prefix
    found = aws.client("ecs").describe_task_definition(
        taskDefinition=service["taskDefinition"], include=["TAGS"]
    )
    assert {c["image"] for c in found["taskDefinition"]["containerDefinitions"]} == {"autotrader:platform-2"}
    assert found["tags"] == [{"key": "environment", "value": "dev"}]
    assert found["taskDefinition"]["volumes"][0]["name"] == "release"
    assert service["desiredCount"] == 1


def test_what_was_scaled_out_stays_so_and_the_other_colour_is_not_touched(
    aws: ColoursOnAws, target: EcsTarget, tmp_path: Path
) -> None:
    target.start(Color.BLUE, stand_in_release(tmp_path))
    aws.set_desired_count(Color.GREEN, 2)
    target.start(Color.GREEN, stand_in_release(tmp_path, "v1.1.0"))
    assert aws.service(Color.GREEN)["desiredCount"] == 2
    blue = aws.service(Color.BLUE)["taskDefinition"]
    target.stop(Color.GREEN)
    assert aws.service(Color.GREEN)["desiredCount"] == 0
    assert (aws.service(Color.BLUE)["desiredCount"], aws.service(Color.BLUE)["taskDefinition"]) == (1, blue)


@pytest.mark.parametrize(
    ("number", "action"),
    [*enumerate(["HeadObject", "PutObject", "RegisterTaskDefinition", "UpdateService"])],
)
def test_a_call_whose_answer_is_lost_is_made_again_without_doing_it_twice(
    aws: ColoursOnAws, target: EcsTarget, tmp_path: Path, number: int, action: str
) -> None:
    release = stand_in_release(tmp_path, f"v2.{number}.0")
    before = revision(aws)
    set_faults(aws.url, {"action": action, "kind": "lost"})
    with pytest.raises(Unreachable, match="AWS did not answer"):
        target.start(Color.GREEN, release)
    assert made().start(Color.GREEN, release) == aws.endpoint
    assert revision(aws) == before + 1
    assert environment(aws, aws.service(Color.GREEN)["taskDefinition"])[0][VERSION] == release.version


def test_a_call_that_hangs_half_way_is_given_up_and_made_again(aws: ColoursOnAws, tmp_path: Path) -> None:
    set_faults(aws.url, {"action": "UpdateService", "kind": "hang", "seconds": 200})
    began = time.monotonic()
    with pytest.raises(Unreachable, match="cannot update service trading-green"):
        made(timeout_seconds=2.0).start(Color.GREEN, stand_in_release(tmp_path))
    assert time.monotonic() - began < 60
    assert aws.service(Color.GREEN)["desiredCount"] == 0
    made().start(Color.GREEN, stand_in_release(tmp_path))
    assert aws.service(Color.GREEN)["desiredCount"] == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [("ThrottlingException", Throttled), ("ExpiredTokenException", ConfigurationError)],
)
def test_an_error_says_what_to_do_about_it_and_nothing_was_changed(
    aws: ColoursOnAws, target: EcsTarget, tmp_path: Path, code: str, expected: type[Exception]
) -> None:
    set_faults(aws.url, {"action": "UpdateService", "kind": "error", "code": code, "times": 2})
    with pytest.raises(expected, match=code):
        target.start(Color.GREEN, stand_in_release(tmp_path))
    assert aws.service(Color.GREEN)["desiredCount"] == 0


def test_two_operators_who_start_the_same_at_once_agree(aws: ColoursOnAws, tmp_path: Path) -> None:
    release = stand_in_release(tmp_path, "v3.0.0")
    with ThreadPoolExecutor(4) as pool:
        endpoints = list(pool.map(lambda _: made(attempts=4).start(Color.GREEN, release), range(4)))
    assert set(endpoints) == {aws.endpoint}
    assert environment(aws, aws.service(Color.GREEN)["taskDefinition"])[0][VERSION] == "v3.0.0"
    assert aws.service(Color.GREEN)["desiredCount"] == 1


def test_of_two_who_release_different_models_as_one_version_one_is_refused(
    aws: ColoursOnAws, tmp_path: Path
) -> None:
    releases = [stand_in_release(tmp_path / str(n), "v4.0.0", delay_seconds=n) for n in range(2)]
    store = S3Releases(Settings())
    assert store.put(releases[0]) == store.put(releases[0]) == "s3://tests-models/releases/v4.0.0"
    with pytest.raises(Refused, match=r"expected v4\.0\.0 in s3://tests-models/.*a version is released once"):
        store.put(releases[1])


def test_a_release_that_lies_there_is_not_read_again_unless_nobody_can_vouch_for_it(
    aws: ColoursOnAws, target: EcsTarget, tmp_path: Path
) -> None:
    release = stand_in_release(tmp_path, "v6.0.0")
    target.start(Color.GREEN, release)
    set_faults(aws.url, {"action": "GetObject", "kind": "error", "code": "AccessDenied", "times": 99})
    assert target.start(Color.GREEN, release) == aws.endpoint
    set_faults(aws.url)
    model = (Path(release.folder) / "model.onnx").read_bytes()
    for content in (model, b"somebody else's"):  # without a SHA-256 of S3's own
        aws.client("s3").put_object(Bucket="tests-models", Key="releases/v6.0.0/model.onnx", Body=content)
        if content == model:
            target.start(Color.GREEN, release)
    with pytest.raises(Refused, match=hashlib.sha256(b"somebody else's").hexdigest()):
        target.start(Color.GREEN, release)


def test_a_release_is_fetched_whole_and_only_if_it_is_the_one(aws: ColoursOnAws, tmp_path: Path) -> None:
    release = stand_in_release(tmp_path, "v5.0.0")
    store = S3Releases(Settings())
    uri = store.put(release)
    folder = tmp_path / "task" / "current"
    fetched = store.fetch(uri, release.onnx_sha256, folder)
    assert (fetched.version, fetched.folder) == ("v5.0.0", str(folder))
    assert (folder / "model.onnx").read_bytes() == (Path(release.folder) / "model.onnx").read_bytes()
    with pytest.raises(BadData, match="find out who changed it"):
        store.fetch(uri, "0" * 64, tmp_path / "other")
    aws.client("s3").put_object(
        Bucket="tests-models", Key="releases/v5.0.0/model.onnx", Body=b"somebody else's"
    )
    with pytest.raises(BadData, match=r"expected model\.onnx of v5\.0\.0"):
        store.fetch(uri, release.onnx_sha256, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(NotFound):
        store.fetch("s3://tests-models/releases/v9.9.9", release.onnx_sha256, tmp_path / "other")


def test_a_task_that_cannot_start_is_told_with_the_reason(
    aws: ColoursOnAws, target: EcsTarget, tmp_path: Path
) -> None:
    aws.register(Color.GREEN, serve=IDLE, fetch=("true",), image="autotrader:missing")
    target.start(Color.GREEN, stand_in_release(tmp_path))
    aws.wait(lambda: "CannotPullContainerError" in target.health(Color.GREEN).reason)
    health = target.health(Color.GREEN)
    assert (health.live, health.ready, health.version) == (False, False, None)
    assert "0 of 1 tasks of v1.0.0 run" in health.reason


def test_a_task_that_runs_and_never_is_a_healthy_target_is_not_ready(
    aws: ColoursOnAws, target: EcsTarget, tmp_path: Path
) -> None:
    target.start(Color.GREEN, stand_in_release(tmp_path))
    aws.wait(lambda: "1 of 1 tasks of v1.0.0 run" in target.health(Color.GREEN).reason)
    health = target.health(Color.GREEN)
    assert not health.ready
    assert "targets: initial" in health.reason


def test_where_aws_cannot_be_asked_health_says_so_and_is_no_error(
    aws: ColoursOnAws, target: EcsTarget
) -> None:
    set_faults(aws.url, {"action": "*", "kind": "error", "code": "ExpiredTokenException", "times": 99})
    health = target.health(Color.BLUE)
    assert not health.live
    assert "renew the credentials" in health.reason
    for call in (target.stop, target.point, target.sends_elsewhere):
        with pytest.raises(ConfigurationError):
            call(Color.BLUE)


def test_the_weights_are_only_changed_where_they_differ(aws: ColoursOnAws, target: EcsTarget) -> None:
    assert target.sends_elsewhere(Color.BLUE) is None
    assert target.sends_elsewhere(Color.GREEN) == "blue 100, green 0"
    aws.set_weights(blue=30, green=70)
    assert target.sends_elsewhere(Color.GREEN) == "blue 30, green 70"
    set_faults(aws.url, {"action": "ModifyListener", "kind": "lost"})
    with pytest.raises(Unreachable):
        target.point(Color.GREEN)
    assert target.sends_elsewhere(Color.GREEN) is None
    assert aws.weights() == {"blue": 0, "green": 100}


def test_a_rule_that_leads_to_the_other_colour_is_told_as_break_glass(
    aws: ColoursOnAws, target: EcsTarget, tmp_path: Path
) -> None:
    target.start(Color.GREEN, stand_in_release(tmp_path))
    aws.lead(Color.GREEN, Color.BLUE)
    reason = target.health(Color.GREEN).reason
    assert reason.startswith("BREAK-GLASS: the load balancer's rule for green points at blue's target group")
    target.point(Color.GREEN)
    assert target.health(Color.GREEN).reason == reason  # a rule is never changed but by hand


def test_without_a_setting_the_endpoint_is_the_load_balancers_own_name(
    aws: ColoursOnAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AUTOTRADER_DEPLOYMENT__ECS_ENDPOINT")
    found = aws.client("elbv2").describe_load_balancers(Names=[NAMES.load_balancer])["LoadBalancers"][0]
    port = aws.endpoint.rpartition(":")[2]
    assert made().start(Color.BLUE, stand_in_release(tmp_path)) == f"http://{found['DNSName']}:{port}"


def test_what_terraform_did_not_make_is_missed_by_name(
    aws: ColoursOnAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTOTRADER_ENVIRONMENT", "staging")
    target = made()
    with pytest.raises(NotFound, match="Cluster"):
        target.start(Color.BLUE, stand_in_release(tmp_path))
    with pytest.raises(NotFound, match="autotrader-staging"):
        target.point(Color.BLUE)
    assert "Cluster not found" in target.health(Color.BLUE).reason
