"""Two whole training runs, made once: on a market with a planted signal, and on pure noise."""

from __future__ import annotations

import pytest

from tests.fakes.training_run import TrainingRun, noise_run, signal_run


@pytest.fixture(scope="session")
def signal(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    run = signal_run(tmp_path_factory.mktemp("signal"))
    run.validate()
    return run


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    run = noise_run(tmp_path_factory.mktemp("noise"))
    run.validate()
    return run
