"""The images' locks are parts of the one lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.images.dockerfiles import NAMES, ROOT

LOCKS = ("builder", *NAMES)
HEAVY = {
    *("alembic", "apache-airflow", "boto3", "deltalake", "lightgbm", "mlflow", "pandas"),
    *("polars", "pyarrow", "scikit-learn", "sqlalchemy"),
}


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes of each package."""
    entries = re.split(r"\n(?=[a-z0-9])", path.read_text())
    found = (re.match(r"([a-z0-9._-]+)==(\S+)", entry) for entry in entries)
    return {
        match[1]: (match[2], frozenset(re.findall(r"sha256:[0-9a-f]{64}", entry)))
        for entry, match in zip(entries, found, strict=True)
        if match
    }


@pytest.fixture(scope="module")
def whole() -> dict[str, tuple[str, frozenset[str]]]:
    return pins(ROOT / "requirements.lock")


@pytest.mark.parametrize("name", LOCKS)
def test_every_version_and_hash_is_that_of_the_one_lock(
    name: str, whole: dict[str, tuple[str, frozenset[str]]]
) -> None:
    part = pins(ROOT / f"images/{name}/requirements.lock")
    assert part
    assert {package: whole.get(package) for package in part} == part


def test_the_prediction_service_has_its_extra_and_nothing_that_trains_or_stores() -> None:
    asked = (ROOT / "images/serving/requirements.in").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {re.split(r"[>=<\[]", entry)[0] for entry in project["optional-dependencies"]["serving"]}
    assert extra <= set(asked)
    assert not HEAVY & set(pins(ROOT / "images/serving/requirements.lock"))


@pytest.mark.parametrize(
    ("name", "without"), [("platform", {"apache-airflow"}), ("airflow", set())], ids=["platform", "airflow"]
)
def test_a_large_image_has_what_its_processes_need_and_no_tool_of_ours(name: str, without: set[str]) -> None:
    part = set(pins(ROOT / f"images/{name}/requirements.lock"))
    assert {"mlflow", "boto3", "psycopg", "deltalake", "lightgbm", "python-binance", "ib-async"} <= part
    assert not {*without, "pytest", "ruff", "mypy", "moto", "hypothesis", "uv", "playwright"} & part
