"""A market that is made once: the checks only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deployment.checks.platform import Desk, Stores, small_market


@pytest.fixture(scope="package")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return small_market(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def desk(tmp_path: Path, stores: Stores) -> Desk:
    return Desk(tmp_path, stores)
