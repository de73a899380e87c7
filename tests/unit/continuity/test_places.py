"""What is copied lies where the colours are told of it, and a restore works where it may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.config.settings import Settings
from autotrader.continuity.places import RELEASES, beside, places_of


@pytest.mark.parametrize(
    ("target", "begins"), [("local", "{home}/"), ("containers", "{home}/"), ("ecs", "s3://")]
)
def test_releases_are_in_the_home_wherever_colours_read_it(target: str, begins: str, home: Path) -> None:
    settings = Settings(deployment={"target": target})  # type: ignore[arg-type]
    assert places_of(settings).trees[RELEASES].startswith(begins.format(home=home.resolve()))


@pytest.mark.parametrize("target", ["local", "containers", "ecs"])
def test_golden_predictions_are_copied_of_the_controllers_home(target: str, home: Path) -> None:
    settings = Settings(deployment={"target": target})  # type: ignore[arg-type]
    assert places_of(settings).trees["checks"] == f"{home.resolve()}/deployment/checks"


def test_a_restore_works_beside_a_home_and_in_one_that_is_a_volume(home: Path) -> None:
    assert beside(home) == home.parent
    assert beside(Path("/proc")) == Path("/proc")
