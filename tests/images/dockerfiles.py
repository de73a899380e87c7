"""Dockerfiles, read; and what their builder stage does, done in a folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("serving", "platform", "airflow")
UV = ROOT / ".venv/bin/uv"
_PLACE = "/opt/"  # where the builder stage puts what is copied out of it
# They make an image small and its processes start quickly; a test may use the machine's cache.
_IMAGE_ONLY = {"UV_NO_CACHE", "UV_COMPILE_BYTECODE", "UV_LINK_MODE"}


@dataclass(frozen=True)
class Instruction:
    """One instruction, with its continued lines joined."""

    word: str
    text: str

    @property
    def words(self) -> list[str]:
        """What it runs.

        Raises
        ------
        ValueError
            If it is not in exec form.
        """
        found = json.loads(self.text)
        if not isinstance(found, list):
            raise ValueError(f"expected a JSON list, was {self.text}")
        return [str(word) for word in found]


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def all(self, word: str) -> list[Instruction]:
        return [found for found in self.instructions if found.word == word]

    def last(self, word: str) -> Instruction:
        return self.all(word)[-1]

    @property
    def environment(self) -> dict[str, str]:
        pairs = re.findall(r"(\w+)=(\S+)", " ".join(found.text for found in self.all("ENV")))
        return dict(pairs)


class Dockerfile:
    """Of the image of that name."""

    def __init__(self, name: str) -> None:
        self.path = ROOT / "images" / name / "Dockerfile"
        self.text = self.path.read_text()

    @cached_property
    def instructions(self) -> list[Instruction]:
        lines = "\n".join(line for line in self.text.splitlines() if not line.lstrip().startswith("#"))
        joined = re.sub(r"\\\n\s*", " ", lines)
        split = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
        return [Instruction(word.upper(), text.strip()) for word, text in split]

    @cached_property
    def stages(self) -> dict[str, Stage]:
        return {stage.name: stage for stage in self._stages()}

    def _stages(self) -> Iterator[Stage]:
        starts = [n for n, found in enumerate(self.instructions) if found.word == "FROM"]
        for start, end in zip(starts, [*starts[1:], len(self.instructions)], strict=True):
            base, _, name = re.split(r"\s+", self.instructions[start].text)
            yield Stage(name, base, tuple(self.instructions[start + 1 : end]))

    @property
    def runtime(self) -> Stage:
        """What becomes the image."""
        return list(self.stages.values())[-1]


def build(name: str, folder: Path) -> Path:
    """Do what the image's builder stage does, below the folder; returns what stands for `/opt`.

    Its own commands are run. `/opt` and the system's Python lie below the folder, and packages may come
    from the machine's cache.
    """
    stage = Dockerfile(name).stages["builder"]
    work, place, system = folder / "build", folder / "opt", folder / "system"
    work.mkdir(parents=True)
    place.mkdir()
    run([UV, "venv", "--quiet", "--seed", "--python", _python(), system])
    environment = {name: value for name, value in stage.environment.items() if name not in _IMAGE_ONLY}
    environment |= {
        "PATH": f"{system / 'bin'}:{os.environ['PATH']}",
        "UV_PYTHON": str(system / "bin/python"),  # in an image there is no other
        "UV_SYSTEM_CERTS": "1",
    }
    for instruction in stage.instructions:
        if instruction.word == "COPY":
            _copy(instruction.text.split(), work)
        elif instruction.word == "RUN":
            script = instruction.text.replace(_PLACE, f"{place}/")
            run(["sh", "-euc", script], cwd=work, environment=environment)
    return place


def _python() -> str:
    """An interpreter of the images' version; the test is skipped where there is none."""
    (version,) = re.findall(r"python:(\d+\.\d+)", (ROOT / "images/serving/Dockerfile").read_text())
    script = f". scripts/lib/python.sh && python_of {version}"
    found = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    if found.returncode:
        pytest.skip(f"needs Python {version}, as in the images")
    return found.stdout.strip()


def run(
    command: Sequence[object], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; what it said is in the error."""
    hidden = {"VIRTUAL_ENV", "PYTHONPATH"}
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=inherited | (environment or {}), capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


def _copy(words: list[str], work: Path) -> None:
    *sources, target = words
    for source in in_context() if sources == ["."] else sources:
        origin, goal = ROOT / source, work / target
        if origin.is_dir():
            inner = goal if sources != ["."] else work / source
            shutil.copytree(origin, inner, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        elif target.endswith(("/", ".")):
            shutil.copy(origin, goal / origin.name)
        else:
            shutil.copy(origin, goal)


def in_context() -> list[str]:
    """The folders and files at the root that `.dockerignore` lets into a build."""
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    named = (line[1:] for line in lines if line.startswith("!") and "*" not in line)
    return [name for name in named if (ROOT / name).exists()]
