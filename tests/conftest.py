"""Every test starts from defaults: a home of its own, and no settings of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of this test; settings of the outside are hidden, but for the recorded market data."""
    for name in os.environ:
        if name.startswith("AUTOTRADER_") and name != "AUTOTRADER_MARKET_DATA":
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("AUTOTRADER_HOME", str(folder))
    return folder
