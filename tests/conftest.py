"""Every test starts from defaults: a home of its own, and no settings of the machine or of other tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from hypothesis.internal.conjecture import providers

# A run of the suite says of the same code the same as the run before; no test is timed.
# `--hypothesis-profile search --hypothesis-seed N` looks elsewhere.
UNTIMED = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("suite", derandomize=True, database=None, **UNTIMED)
hypothesis.settings.register_profile("search", database=None, print_blob=True, **UNTIMED)
hypothesis.settings.load_profile("suite")
# It would try numbers that stand in the modules that are imported: other ones in each worker, and so
# other examples. There is no setting for it; test_examples.py says whether this still does.
providers._get_local_constants = providers.Constants

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores: threads of one would wait for those of the other, spinning.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")

# Told to the tests themselves; all other settings of the outside are hidden.
FOR_TESTS = ("AUTOTRADER_MARKET_DATA", "AUTOTRADER_TEST_")


def settings_here() -> list[str]:
    """Names of settings in this process's environment."""
    return [name for name in os.environ if name.startswith("AUTOTRADER_") and not name.startswith(FOR_TESTS)]


for outside in settings_here():
    del os.environ[outside]


def _configure_structlog(**options: Any) -> None:
    """A logger that is kept after its first use would keep the configuration of an earlier test."""
    configure_structlog(**options | {"cache_logger_on_first_use": False})


configure_structlog, structlog.configure = structlog.configure, _configure_structlog

# They fit models: the training runs are made once, and one process imports what fits.
MODELS = ("tests/unit/training/", "tests/unit/test_conversion_smoke.py")


# They start a platform of their own or share one: never two at a time, for want of cores and default ports.
PLATFORMS = (
    "tests/integration/test_celery.py",
    "tests/integration/test_console.py",
    "tests/integration/test_daily_summary.py",
    "tests/integration/test_data_pipeline.py",
    "tests/integration/test_deployment_pipeline.py",
    "tests/integration/test_jobs.py",
    "tests/integration/test_quickstart.py",
    "tests/integration/test_sign_off.py",
    "tests/integration/test_training_pipeline.py",
    "tests/runbooks/",
)

# They talk over sockets, start processes or servers, or fit models. `make unit` leaves them out, so that
# it stays under a minute; `make test` runs them beside the others.
COMPONENTS = (
    "tests/contracts/",
    "tests/dags/",
    "tests/images/",
    "tests/s3/",
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
    """Keep a file's tests in one worker, and those that fit models, or run a platform, too.

    Marks of the kind `xdist_group` are not read: pytest 9.2 hides them from pytest-xdist 3.8
    (github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            for name, members in (("models", MODELS), ("platforms", PLATFORMS)):
                if nodeid.startswith(members):
                    return name
            return nodeid.partition("::")[0]

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
    """The home of this test; what its module's fixtures set is hidden."""
    for name in settings_here():
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("AUTOTRADER_HOME", str(folder))
    return folder


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """What outlives a module sets nothing that fixtures of the next would read."""
    before = settings_here()
    yield
    assert settings_here() == before
