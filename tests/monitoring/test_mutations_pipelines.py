"""Faults of pipelines, data and jobs raise their alerts, which arrive; the fault mended, they clear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from autotrader.ports.tokens import Scope
from tests.fakes.airflow_server import serve
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY, market
from tests.monitoring.faults_pipelines import (
    CHAINS,
    FAULTS,
    INSTRUMENT,
    STOPPED_AT,
    Pipelines,
    WorkingAirflow,
)
from tests.monitoring.parts import of_platform, token_of
from tests.monitoring.watched import Watched, watching
from tests.services import free_port
from tests.unit.monitoring.live import Live, make_reference

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]


@contextlib.contextmanager
def pipelines(folder: Path) -> Iterator[tuple[Pipelines, Watched]]:
    """A platform at work: bars until now, a live model, a backup."""
    home = folder / "home"
    ports = {name: free_port() for name in ("api", "exporter")}
    airflow = WorkingAirflow()
    live = Live(home, make_reference())
    live.deploy()
    with contextlib.ExitStack() as stack:
        environment = {
            "AUTOTRADER_HOME": str(home),
            "AUTOTRADER_AIRFLOW__URL": stack.enter_context(serve(airflow)),
            "AUTOTRADER_AIRFLOW__PASSWORD": "x",
            "AUTOTRADER_STRATEGY__INTERVAL": STRATEGY.interval.value,
            "AUTOTRADER_BINANCE__INSTRUMENTS": ",".join(i.symbol for i in INSTRUMENTS),
            "AUTOTRADER_CLOCK__MARKET_TIME": NOW.isoformat(),
            "AUTOTRADER_JOBS__TRIES": "1",
            "AUTOTRADER_BACKUP__URI": str(folder / "backups"),
        }
        platform = Pipelines(
            home,
            f"http://127.0.0.1:{ports['api']}",
            token_of(home, Scope.OPERATE),
            airflow,
            live,
            market(INSTRUMENT, days=3, momentum=0.0, seed=0),
            environment,
        )
        stack.callback(platform.at_work.close)
        platform.load_bars(NOW.replace(year=NOW.year - 1), STOPPED_AT)
        platform.back_up()
        for name in ports:
            part = of_platform(name, folder, ports[name], environment, page="/metrics")
            stack.callback(part.kill)
            part.start()
        yield platform, stack.enter_context(watching(folder / "monitoring", ports))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with pipelines(tmp_path_factory.mktemp("pipelines")) as (platform, watched):
        yield watched.live_through(platform, *CHAINS)


@pytest.mark.parametrize("told", [str(row) for fault in FAULTS for row in fault.rows])
def test_a_fault_is_told_of_until_it_is_mended(told: str, outcomes: Mapping[str, str]) -> None:
    assert not outcomes[told], outcomes[told]
