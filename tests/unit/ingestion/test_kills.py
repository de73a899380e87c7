"""A run that is killed anywhere between fetch and commit, and run again, leaves the same tables."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from autotrader.data.schemas import KEY
from tests.unit.data.kills import finished, finished_in_all, folders_and_lines, killed_after, killed_at_lines
from tests.unit.ingestion.market import START, Platform, assignment, market

pytestmark = pytest.mark.integration

KILLS = int(os.environ.get("KILLS", "8"))  # how many moments, spread over the whole of a run
WINDOW = {"end": START + timedelta(hours=2)}
ARRIVAL_COLUMNS = ["ingested_at"]


def two_runs(folder: Path) -> None:
    """A load of two instruments, and one that finds some bars restated and one of them bad."""
    both = (assignment(**WINDOW), assignment("ETHUSDT", **WINDOW))
    platform = Platform(folder, market(), page_bars=40)
    platform.ingest(*both, run="1")
    restated = {s: b.with_columns(volume=b["volume"] + 1.0) for s, b in market().items()}
    restated["ETHUSDT"] = restated["ETHUSDT"].with_columns(low=-restated["ETHUSDT"]["low"])
    Platform(folder, restated, page_bars=40).ingest(*both, run="2")


def assert_same_tables(folder: Path, reference: Path) -> None:
    found, expected = Platform(folder, {}).tables(), Platform(reference, {}).tables()
    for name, rows in expected.items():
        # Pages that were fetched again after the kill arrived later; nothing else may differ.
        assert_frame_equal(found[name].drop(ARRIVAL_COLUMNS), rows.drop(ARRIVAL_COLUMNS))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    assert finished((two_runs, folder))
    assert [t.height for t in Platform(folder, {}).tables().values()] == [240, 120, 120]
    return folder


def test_killed_at_any_line_and_run_again_the_tables_are_the_same(tmp_path: Path, reference: Path) -> None:
    moments = folders_and_lines(two_runs, tmp_path, count=KILLS, seed=20240301)
    assert killed_at_lines(two_runs, moments)
    for folder in moments:
        assert not Platform(folder, {}).tables()["bars"].select(KEY).is_duplicated().any()
    assert finished_in_all(two_runs, moments)
    for folder in moments:
        assert_same_tables(folder, reference)


@pytest.mark.parametrize("milliseconds", [50, 120])
def test_killed_from_outside_and_run_again_the_tables_are_the_same(
    tmp_path: Path, reference: Path, milliseconds: int
) -> None:
    killed_after(two_runs, tmp_path, milliseconds / 1000)
    assert finished((two_runs, tmp_path))
    assert_same_tables(tmp_path, reference)


def run_one(folder: Path) -> None:
    Platform(folder, market()).ingest(assignment(), assignment("ETHUSDT"), run="one")


def run_another(folder: Path) -> None:
    Platform(folder, market()).ingest(assignment(), assignment("ETHUSDT"), run="another")


def test_two_runs_at_once_double_and_lose_nothing(tmp_path: Path) -> None:
    assert finished((run_one, tmp_path), (run_another, tmp_path), (run_one, tmp_path / "alone"))
    assert_same_tables(tmp_path, tmp_path / "alone")
