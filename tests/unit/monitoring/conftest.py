"""A champion in a market, fresh for each test; its reference is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.features.reference.files import Reference
from tests.unit.monitoring.live import Live, make_reference


@pytest.fixture(scope="session")
def reference() -> Reference:
    return make_reference()


@pytest.fixture
def live(tmp_path: Path, reference: Reference) -> Live:
    return Live(tmp_path, reference)
