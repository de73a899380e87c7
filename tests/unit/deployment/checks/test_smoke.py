"""The smoke test asks whatever colour runs a version, and says what runs where none does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from autotrader.command import Result, to_plain
from autotrader.config.settings import Settings
from autotrader.deployment.checks.probes import Load
from autotrader.domain.errors import ExitCode, NotFound, Unreachable
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Slot, SlotState
from autotrader.tests import smoke as smoke_module
from autotrader.tests.smoke import smoke
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.fakes.prediction_service import TOKEN, StandInService, served
from tests.unit.deployment.checks.platform import WALL, Desk, model_bytes, release_of


class Running:
    """A registered version, and records of what runs."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.version = desk.register()
        self.release = release_of(desk.folder / "served", model_bytes())
        self.records = InMemoryDeploymentRecords()

    def holds(self, color: Color, version: str | None, endpoint: str | None) -> None:
        state = SlotState.READY if version else SlotState.EMPTY
        self.records.set_slot(Slot(color, state, version, None, endpoint, "", WALL, "controller"))

    def smoke(self, model: str = "v1.0.0") -> Result:
        settings: Settings = self.desk.settings.model_copy(
            update={"serving": Settings(serving={"token": TOKEN}).serving}  # type: ignore[arg-type]
        )
        return smoke(
            model=model,
            settings=settings,
            registry=self.desk.registry,
            records=self.records,
            store=self.desk.stores.features,
        )


@pytest.fixture
def running(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Whose latency is not judged: a machine may be busy."""
    monkeypatch.setattr(smoke_module, "Load", partial(Load, p99_seconds=60))
    return Running(desk)


def test_the_colour_that_runs_the_version_is_asked(running: Running) -> None:
    with served(StandInService(running.release, Color.BLUE)) as url:
        running.holds(Color.BLUE, "v1.0.0", url)
        running.holds(Color.GREEN, "v0.9.0", "http://127.0.0.1:1")
        result = running.smoke("1")
    assert result.exit_code is ExitCode.DONE, result.text
    assert "runs v1.0.0: 27 of 27 integration tests passed" in result.text
    assert list(to_plain(result.data)["colors"]) == ["blue"]


def test_a_colour_that_serves_other_bytes_fails(running: Running, tmp_path: Path) -> None:
    other = replace(release_of(tmp_path / "other", model_bytes(seed=8)))
    with served(StandInService(other, Color.GREEN)) as url:
        running.holds(Color.GREEN, "v1.0.0", url)
        result = running.smoke()
    assert result.exit_code is ExitCode.FAILED
    assert "FAIL  golden_predictions" in result.text


def test_where_no_colour_runs_it_the_output_says_what_runs(running: Running) -> None:
    assert "nothing is deployed" in running.smoke().text
    running.holds(Color.BLUE, "v0.9.0", "http://127.0.0.1:1")
    result = running.smoke()
    assert result.exit_code is ExitCode.FAILED
    assert result.text.endswith("expected a colour that runs v1.0.0, was none: blue has v0.9.0 (ready)")


def test_an_unknown_version_and_a_silent_registry_are_told_as_that(running: Running) -> None:
    with pytest.raises(NotFound):
        running.smoke("v9.0.0")
    running.desk.registry.reachable = False
    with pytest.raises(Unreachable):
        running.smoke()
