"""`scripts/build-images.sh` as a process, with a container tool that only takes notes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.images.dockerfiles import NAMES, ROOT

DIGEST = "sha256:" + "ab" * 32
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
NOTES = """#!/bin/sh
printf '%s\\n' "$*" >> "{notes}"
case "$*" in
  *inspect*) echo "docker.io/library/python@{digest}" ;;
  *{failing}*) exit 9 ;;
esac
"""


class Checkout:
    """A repository of its own that holds what the script reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.notes = folder / "notes"
        self.tools = folder / "tools"
        self.tools.mkdir(parents=True)
        for name in ("images", "scripts"):
            shutil.copytree(ROOT / name, self.folder / name)
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *identity, *words], cwd=self.folder, env=self._surroundings, check=True, text=True,
            capture_output=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "state")

    def tool(self, name: str = "docker", *, failing: str = "never") -> None:
        path = self.tools / name
        path.write_text(NOTES.format(notes=self.notes, digest=DIGEST, failing=failing))
        path.chmod(0o755)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", self.folder / "scripts/build-images.sh", *words],
            env={**self._surroundings, **environment},
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip

    @property
    def _surroundings(self) -> dict[str, str]:
        """Nothing of the machine's git, nor of one that runs us from a hook."""
        return {"PATH": f"{self.tools}:/usr/bin:/bin", "HOME": str(self.tools), "GIT_CONFIG_NOSYSTEM": "1"}

    @property
    def called(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def pin(self) -> None:
        assert self.run("--pin-base").returncode == 0
        self.commit()
        self.notes.unlink()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.tool()
    # Whatever this repository's own base is pinned to.
    for dockerfile in made.folder.glob("images/*/Dockerfile"):
        dockerfile.write_text(re.sub(r"@sha256:[0-9a-f]{64}", "", dockerfile.read_text()))
    if made.git("status", "--porcelain"):
        made.commit()
    return made


def test_it_builds_every_image_for_one_platform_and_tags_it(
    checkout: Checkout,
) -> None:
    done = checkout.run("--version", "1.2.3")
    assert done.returncode == 0, done.stderr
    revision = checkout.git("rev-parse", "HEAD")
    assert checkout.called == [
        f"build --platform linux/amd64 --file images/{name}/Dockerfile --tag autotrader:{name}-1.2.3"
        f" --build-arg VERSION=1.2.3 --build-arg REVISION={revision} ."
        for name in NAMES
    ]


def test_it_builds_what_is_named_alone(checkout: Checkout) -> None:
    assert checkout.run("serving").returncode == 0
    assert len(checkout.called) == 1
    assert "autotrader:serving-" in checkout.called[0]


def test_an_image_of_files_that_are_not_committed_says_so(checkout: Checkout) -> None:
    (checkout.folder / "new").touch()
    assert checkout.run("serving").returncode == 0
    assert checkout.called[0].endswith("-dirty .")


def test_a_dry_run_prints_the_commands_and_runs_none(checkout: Checkout) -> None:
    checkout.pin()
    done = checkout.run("--dry-run", "--registry", REGISTRY, "--push", "--version", "1.2.3")
    printed = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in printed] == [["docker", "build"]] * 3 + [["docker", "push"]] * 3
    assert checkout.called == []


def test_a_base_is_pinned_to_the_digest_it_has_now_and_can_be_pinned_anew(checkout: Checkout) -> None:
    for _ in range(2):
        assert checkout.run("--pin-base").returncode == 0
        for dockerfile in checkout.folder.glob("images/*/Dockerfile"):
            (base,) = re.findall(r"^ARG BASE_IMAGE=(.+)$", dockerfile.read_text(), re.MULTILINE)
            assert re.fullmatch(rf"docker\.io/library/python:3\.12\.\d+-slim-\w+@{DIGEST}", base)


def test_it_pushes_after_all_are_built(checkout: Checkout) -> None:
    checkout.pin()
    done = checkout.run("--registry", f"{REGISTRY}/", "--push", "--version", "1.2.3")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in checkout.called] == ["build"] * 3 + ["push"] * 3
    assert checkout.called[3:] == [f"push {REGISTRY}/autotrader:{name}-1.2.3" for name in NAMES]


def test_nothing_is_pushed_where_one_image_was_not_built(checkout: Checkout) -> None:
    checkout.pin()
    checkout.tool(failing="images/platform/Dockerfile")
    assert checkout.run("--registry", REGISTRY, "--push").returncode == 1
    assert not [line for line in checkout.called if line.startswith("push")]


def test_a_base_without_a_digest_is_not_pushed(checkout: Checkout) -> None:
    done = checkout.run("--registry", REGISTRY, "--push")
    assert (done.returncode, checkout.called) == (4, [])
    assert "--pin-base" in done.stderr


def test_files_that_are_not_committed_are_not_pushed(checkout: Checkout) -> None:
    checkout.pin()
    (checkout.folder / "new").touch()
    done = checkout.run("--registry", REGISTRY, "--push")
    assert (done.returncode, checkout.called) == (4, [])


def test_without_docker_it_takes_buildah_in_the_format_that_has_health_checks(checkout: Checkout) -> None:
    (checkout.tools / "docker").unlink()
    if any(Path(folder, "docker").exists() for folder in ("/usr/bin", "/bin")):
        pytest.skip("docker is on this machine, where the test cannot hide it")
    checkout.tool("buildah")
    assert checkout.run("serving").returncode == 0
    assert checkout.called[0].startswith("build --format docker --platform")


@pytest.mark.parametrize(
    "words",
    [("everything",), ("--version",), ("--version", "no good"), ("--push",), ("--registry", "")],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_a_usage_error(checkout: Checkout, words: tuple[str, ...]) -> None:
    done = checkout.run(*words)
    assert (done.returncode, checkout.called) == (2, [])
    assert "expected" in done.stderr


def test_a_tool_that_cannot_build_is_a_usage_error(checkout: Checkout) -> None:
    done = checkout.run(CONTAINER_TOOL="kaniko")
    assert done.returncode == 2
    assert "expected docker or buildah, found 'kaniko'" in done.stderr


def test_its_help_is_its_header(checkout: Checkout) -> None:
    done = checkout.run("--help")
    assert done.returncode == 0
    assert "--pin-base" in done.stdout
