"""Faults of trading raise their alerts, which arrive; the fault mended, they clear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from autotrader.ports.tokens import Scope
from tests.monitoring.faults_trading import FAULTS, Trading
from tests.monitoring.parts import of_platform, token_of, trader
from tests.monitoring.watched import Watched, watching
from tests.services import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]


@contextlib.contextmanager
def trading(folder: Path) -> Iterator[tuple[Trading, Watched]]:
    """A trader that earns, and is watched."""
    home = folder / "home"
    home.mkdir()
    ports = {name: free_port() for name in ("trader", "exporter")}
    parts = (
        trader(home, ports["trader"]),
        of_platform("exporter", folder, ports["exporter"], {"AUTOTRADER_HOME": str(home)}),
    )
    with contextlib.ExitStack() as stack:
        platform = Trading(parts[0], home, token_of(home, Scope.APPROVE))
        for part in parts:
            stack.callback(part.kill)
            part.start()
        yield platform, stack.enter_context(watching(folder / "monitoring", ports))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with trading(tmp_path_factory.mktemp("trading")) as (platform, watched):
        yield watched.live_through(platform, FAULTS)


@pytest.mark.parametrize("told", [str(row) for fault in FAULTS for row in fault.rows])
def test_a_fault_is_told_of_until_it_is_mended(told: str, outcomes: Mapping[str, str]) -> None:
    assert not outcomes[told], outcomes[told]
