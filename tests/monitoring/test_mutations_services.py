"""Faults of services and of PostgreSQL raise their alerts, which arrive; the fault mended, they clear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.airflow_history import AirflowHistory
from tests.fakes.airflow_server import serve
from tests.monitoring import faults_services as faults
from tests.monitoring.faults_services import Services
from tests.monitoring.parts import debian, of_platform, postgres_again, prediction_service
from tests.monitoring.watched import Watched, row, watching
from tests.services import free_port, postgres
from tests.serving import make_release

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]


@dataclass
class Lived:
    """What came of the faults, by row; and who was told."""

    outcomes: Mapping[str, str]
    watched: Watched
    system_was_up: bool


@contextlib.contextmanager
def services(folder: Path) -> Iterator[tuple[Services, Watched]]:
    """They run, are asked, and are watched."""
    ports = {name: free_port() for name in ("api", "prediction-green", "postgres")}
    airflow = AirflowHistory()
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres(folder))
        exporter = debian(
            "prometheus-postgres-exporter",
            folder,
            ports["postgres"],
            environment={"DATA_SOURCE_NAME": f"{database}?sslmode=disable"},
        )
        environment = {
            "AUTOTRADER_HOME": str(folder / "home"),
            "AUTOTRADER_DATABASE__URL": database,
            "AUTOTRADER_AIRFLOW__URL": stack.enter_context(serve(airflow)),
        }
        release = make_release(folder / "release", model=faults.slow_model())
        made = Services(
            of_platform("api", folder, ports["api"], environment, page="/openapi.json"),
            f"http://127.0.0.1:{ports['api']}",
            prediction_service("green", folder, ports["prediction-green"], release),
            f"http://127.0.0.1:{ports['prediction-green']}",
            postgres_again(folder, database),
            database,
            airflow,
        )
        for part in (made.postgres, made.api, made.predictions, exporter):
            stack.callback(part.kill)
        for part in (exporter, made.api, made.predictions):
            part.start()
        stack.callback(made.release)
        stack.callback(made.at_work.close)
        made.at_work.begin("events", faults.ask_api(made))
        yield made, stack.enter_context(watching(folder / "monitoring", ports, profiles=("postgres",)))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with services(tmp_path_factory.mktemp("services")) as (platform, watched):
        outcomes = watched.live_through(platform, *faults.BESIDE_EACH_OTHER)
        outcomes |= watched.live_through(platform, faults.AFTERWARDS[:1])
        was_up = not watched.state(row("SystemDown"))
        outcomes |= watched.live_through(platform, faults.AFTERWARDS[1:])
        yield Lived(outcomes, watched, was_up)


@pytest.mark.parametrize("told", [str(row) for fault in faults.FAULTS for row in fault.rows])
def test_a_fault_is_told_of_until_it_is_mended(told: str, lived: Lived) -> None:
    assert not lived.outcomes[told], lived.outcomes[told]


def test_while_predictions_are_served_the_system_is_not_down(lived: Lived) -> None:
    assert lived.system_was_up


def test_what_is_critical_pages_somebody(lived: Lived) -> None:
    pages = lived.watched.people.sent_to("/v2/enqueue")
    assert {page["event_action"] for page in pages} == {"trigger", "resolve"}
