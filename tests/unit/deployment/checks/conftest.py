"""A market that is made once: the checks only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.deployment.checks import colour, footprint, pre_deploy
from autotrader.domain.verdicts import Finding
from tests.unit.deployment.checks.platform import Desk, Stores, small_market


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy or full changes no verdict."""
    monkeypatch.setattr(colour, "TIMEOUT_SECONDS", 120.0)
    monkeypatch.setattr(footprint, "PATIENCE_SECONDS", 600.0)

    def with_room(*, free_memory_bytes: int, free_disk_bytes: int) -> Finding:
        free = {"free_memory_bytes": free_memory_bytes, "free_disk_bytes": free_disk_bytes}
        return footprint.check_machine(**{name: max(found, 2**40) for name, found in free.items()})

    monkeypatch.setattr(pre_deploy, "check_machine", with_room)


@pytest.fixture(scope="package")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return small_market(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def desk(tmp_path: Path, stores: Stores) -> Desk:
    return Desk(tmp_path, stores)
