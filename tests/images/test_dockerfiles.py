"""What the Dockerfiles promise, read from them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.images.dockerfiles import NAMES, ROOT, Dockerfile, Instruction

HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
MUTABLE = {"latest", "stable", "slim", "3", "3.12"}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|API_KEY|CREDENTIAL|ACCESS_KEY", re.IGNORECASE)

image = pytest.mark.parametrize("name", NAMES)


@image
@pytest.mark.skipif(HADOLINT is None, reason="needs hadolint: it comes with the packages of the group dev")
def test_hadolint_finds_nothing(name: str) -> None:
    done = subprocess.run(
        [str(HADOLINT), "--failure-threshold", "style", Dockerfile(name).path],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


@image
def test_it_is_built_in_one_stage_and_runs_from_another(name: str) -> None:
    assert list(Dockerfile(name).stages) == ["builder", "runtime"]


@image
def test_nothing_that_builds_is_in_what_runs(name: str) -> None:
    runtime = Dockerfile(name).runtime
    assert not re.search(r"\b(pip|uv|gcc|git|curl)\b", " ".join(step.text for step in runtime.all("RUN")))
    assert all("--from=builder /opt/" in copied.text for copied in runtime.all("COPY"))


@image
def test_it_runs_as_a_user_of_ours_that_is_not_root_and_has_no_shell(name: str) -> None:
    runtime = Dockerfile(name).runtime
    assert [found.text for found in runtime.all("USER")] == ["10001:10001"]
    assert runtime.instructions.index(runtime.last("USER")) < runtime.instructions.index(runtime.last("CMD"))
    assert "--shell /usr/sbin/nologin" in " ".join(step.text for step in runtime.all("RUN"))


@image
def test_its_command_and_its_health_check_are_in_exec_form_so_that_signals_arrive(name: str) -> None:
    runtime = Dockerfile(name).runtime
    assert runtime.last("CMD").words
    for found in runtime.all("ENTRYPOINT"):
        assert found.words == ["tini", "--"]
    if not runtime.all("HEALTHCHECK"):
        # What starts a process of this image says what is asked, if it answers at all.
        assert name == "platform"
        return
    asked = runtime.last("HEALTHCHECK").text
    assert Instruction("CMD", asked.partition(" CMD ")[2]).words[0] == "python"
    assert {"--interval=30s", "--timeout=5s", "--retries=3"} <= set(asked.split())


@image
def test_its_bases_are_one_image_of_a_fixed_version(name: str) -> None:
    dockerfile = Dockerfile(name)
    assert {stage.base for stage in dockerfile.stages.values()} == {"${BASE_IMAGE}"}
    (given,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", dockerfile.text, re.MULTILINE)
    repository, tag, digest = re.fullmatch(r"(.+):([\w.-]+?)(@sha256:[0-9a-f]{64})?", given).groups()  # type: ignore[union-attr]
    assert repository == "docker.io/library/python"
    assert tag not in MUTABLE
    assert re.match(r"3\.12\.\d+-slim-\w+$", tag), digest


def test_all_images_have_the_same_base() -> None:
    assert len({Dockerfile(name).instructions[0] for name in NAMES}) == 1


@image
def test_nothing_is_fetched_but_what_the_lock_knows_by_hash(name: str) -> None:
    dockerfile = Dockerfile(name)
    assert not [found for found in dockerfile.instructions if found.word == "ADD"]
    steps = [step for stage in dockerfile.stages.values() for step in stage.all("RUN")]
    commands = [part for step in steps for part in step.text.split("&&")]
    fetching = [part for part in commands if re.search(r"pip (install|sync)", part)]
    assert len(fetching) == 3
    for part in fetching:
        assert "--require-hashes" in part or "--no-deps" in part, part
    assert not re.search(r"https?://(?!127\.0\.0\.1)|curl|wget", dockerfile.text)


@image
def test_no_secret_is_asked_for_or_can_be_copied_in(name: str) -> None:
    dockerfile = Dockerfile(name)
    given = [found.text for found in dockerfile.instructions if found.word in {"ARG", "ENV"}]
    assert not [text for text in given if SECRET.search(text)]


def test_a_build_sees_our_sources_and_locks_alone() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    let_in = {line for line in lines if line.startswith("!")}
    assert let_in == {
        *("!LICENSE", "!README.md", "!pyproject.toml"),
        *("!dags", "!plugins", "!src", "!images/*/requirements.lock"),
    }
    assert "**/.env*" in lines


@image
def test_the_root_can_be_read_only(name: str) -> None:
    runtime = Dockerfile(name).runtime
    volumes = runtime.last("VOLUME").words
    made = re.search(r"install --directory --owner=10001 --group=10001 (.+)", runtime.all("RUN")[-1].text)
    assert made
    assert set(volumes) == {*made[1].split(), "/tmp"}  # noqa: S108
    environment = runtime.environment
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    for variable in ("AUTOTRADER_HOME", "AIRFLOW_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        if variable in environment:
            assert environment[variable].startswith(tuple(volumes)), variable


@image
def test_it_says_what_it_is(name: str) -> None:
    said = Dockerfile(name).runtime.last("LABEL").text
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', said))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert labels["title"] == f"autotrader {name}"
    assert labels["licenses"] == project["license"]
    assert (labels["version"], labels["revision"]) == ("${VERSION}", "${REVISION}")


@image
def test_it_runs_a_python_that_the_project_supports(name: str) -> None:
    version = re.findall(r"python:(3\.\d+)", Dockerfile(name).text)[0]
    assert version == "3.12"  # what scripts/image-locks.sh resolves for
    assert f"--python-version {version}" in (ROOT / "scripts/image-locks.sh").read_text()


@image
def test_compose_mounts_each_volume_that_it_names_so_that_none_is_left_behind(name: str) -> None:
    named = set(Dockerfile(name).runtime.last("VOLUME").words)
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    ours = {key: each for key, each in services.items() if f"autotrader:{name}-" in each["image"]}
    assert ours
    for key, service in ours.items():
        mounted = {v["target"] if isinstance(v, dict) else v.split(":")[1] for v in service["volumes"]}
        assert named <= mounted | {path.split(":")[0] for path in service["tmpfs"]}, key
