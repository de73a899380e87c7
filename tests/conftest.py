"""Every test starts from defaults: a home of its own, and no settings of the machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores: threads of one would wait for those of the other, spinning.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")


# They fit models: the training runs are made once, and one process imports what fits.
MODELS = ("tests/unit/training/", "tests/unit/test_conversion_smoke.py")


# They talk over sockets, start processes or servers, or fit models. `make unit` leaves them out, so that
# it stays under a minute; `make test` runs them beside the others.
COMPONENTS = (
    "tests/contracts/",
    "tests/dags/",
    "tests/unit/adapters/",
    "tests/unit/apps/",
    "tests/unit/connectors/",
    "tests/unit/db/",
    "tests/unit/deployment/checks/",
    "tests/unit/pipelines/",
    *MODELS,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark component tests by where they lie."""
    for item in items:
        if item.nodeid.startswith(COMPONENTS):
            item.add_marker(pytest.mark.component)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a file's tests in one worker, and those that fit models too.

    Marks of the kind `xdist_group` are not read: pytest 9.2 hides them from pytest-xdist 3.8
    (github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "models" if nodeid.startswith(MODELS) else nodeid.partition("::")[0]

    return ByFile(config, log)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """For tests that configure logging, which is the process's."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of this test; settings of the outside are hidden, but for the recorded market data."""
    for name in os.environ:
        if name.startswith("AUTOTRADER_") and name != "AUTOTRADER_MARKET_DATA":
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("AUTOTRADER_HOME", str(folder))
    return folder
