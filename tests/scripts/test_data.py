"""Data rollback and restore by script, on a lake that was filled from archived pages of a venue."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import polars as pl
import pytest

from autotrader.adapters.file_archive import FileArchive
from autotrader.config.settings import Settings
from autotrader.connectors.binance_ws.decode import KLINES
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.holds import SqlHolds
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage
from tests.fakes import mlflow_server
from tests.fakes.airflow_server import StandInAirflow, serve
from tests.s3.buckets import REGION, new_bucket, with_credentials
from tests.scripts.platform import killing_python, operations, run_script
from tests.services import AWS_ENVIRONMENT, fresh_database, local_aws

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DAY = datetime(2024, 2, 1, tzinfo=UTC)
BARS = 240  # of each day and instrument
WHY = ("--reason", "the venue sent rubbish", "--yes")
REPROCESS = "autotrader.apps.operations.reprocess"


def page(symbol: str, start: datetime, *, bump: int = 0) -> RawPage:
    """Bars of a day as Binance sends them."""
    opens = [int((start + timedelta(minutes=n)).timestamp() * 1000) for n in range(BARS)]
    rows = [
        [at, "100", "102", "99", f"{100 + n % 2 + bump}", "5", at + 59_999, "500", 7, "2", "200", "0"]
        for n, at in enumerate(opens)
    ]
    end = start + timedelta(minutes=BARS)
    seen = start + timedelta(days=1 + bump)
    content = json.dumps(rows).encode()
    return RawPage(Venue.BINANCE, symbol, Interval.M1, start, end, content, KLINES, seen, seen, "binance")


@dataclass
class Store:
    home: Path
    airflow: StandInAirflow

    @property
    def archive(self) -> FileArchive:
        return FileArchive(str(self.home / "archive"))

    def bars(self) -> pl.DataFrame:
        """What stands, without when it came."""
        engine = open_database(Settings().database_url)
        rows = BarStore(Lake(str(self.home / "lake")), SqlHolds(engine)).bars.read()
        engine.dispose()
        return rows.select("venue", "instrument", "ts", "close").sort("instrument", "ts")

    def events(self) -> list[str]:
        return [event.message for event in SqlEventLog(open_database(Settings().database_url)).recent()]


@pytest.fixture
def store(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Two days of two instruments in archive and lake."""
    home.mkdir()
    airflow = StandInAirflow()
    with serve(airflow) as url, mlflow_server.serve(mlflow_server.StandInMlflow()) as mlflow:
        for name, value in {
            "DATABASE__URL": fresh_database("sqlite", home),
            "AIRFLOW__URL": url,
            "AIRFLOW__PASSWORD": "a-password-of-tests",
            "MLFLOW__TRACKING_URI": mlflow,
        }.items():
            monkeypatch.setenv(f"AUTOTRADER_{name}", value)
        made = Store(home, airflow)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            for day in range(2):
                made.archive.store(page(symbol, DAY + timedelta(days=day)))
        filled = run_script("restore_all_data.sh", "--reason", "the first load", "--yes")
        assert filled.returncode == 0, filled.stderr
        assert made.bars().height == 4 * BARS
        shutil.rmtree(home / "operations")
        yield made


def test_a_day_is_taken_back_derived_again_and_put_back(store: Store) -> None:
    before = store.bars()
    shown = run_script("rollback_data.sh", "2024-02-01", "BTCUSDT", "--reason", "rubbish", "--dry-run")
    assert (shown.returncode, f"rollback (dry run): {BARS} bars" in shown.stderr) == (0, True), shown.stderr
    assert store.bars().equals(before)
    assert operations(store.home) == []

    done = run_script("rollback_data.sh", "2024-02-01", "BTCUSDT", *WHY)
    assert done.returncode == 0, done.stderr
    assert store.bars().height == 3 * BARS
    (run,) = store.airflow.runs.values()
    assert run["conf"] == {
        "mode": "reprocess",
        "date": "2024-02-01",
        "venues": ["binance"],
        "instruments": ["BTCUSDT"],
    }
    assert any("240 bars of binance:BTCUSDT" in told and "rubbish" in told for told in store.events())
    assert "a-password-of-tests" not in done.stderr

    refused = run_script("restore_data.sh", "--date", "2024-02-01", *WHY)
    hold = done.stderr.split("--undo ")[1].split()[0]
    assert (refused.returncode, hold in refused.stderr) == (4, True), refused.stderr

    undone = run_script("rollback_data.sh", "2024-02-01", "BTCUSDT", "--undo", hold, *WHY, "--no-reprocess")
    assert undone.returncode == 0, undone.stderr
    assert store.bars().equals(before)
    assert len(store.airflow.runs) == 1


def test_a_rollback_whose_trigger_fails_half_way_goes_on_and_triggers_once(store: Store) -> None:
    store.airflow.lost = 1
    cut = run_script("rollback_data.sh", "2024-02-01", *WHY)
    assert (cut.returncode, "run the same command again" in cut.stderr) == (3, True), cut.stderr
    assert store.bars().height == 2 * BARS
    done = run_script("rollback_data.sh", "2024-02-01", *WHY)
    assert (done.returncode, "rollback: done before" in done.stderr) == (0, True), done.stderr
    assert "was triggered before" in done.stderr
    assert len(store.airflow.runs) == 1


def killed_at_each_step(folder: Path, modules: tuple[str, ...], *words: str) -> CompletedProcess[str]:
    """Killed before and after each module, each time begun anew; then let be."""
    for module in modules:
        for when in ("before", "after"):
            killer = killing_python(folder, when, module)
            killed = run_script(*words, environment={"AUTOTRADER_PYTHON": str(killer)})
            assert killed.returncode == -9, (when, module, killed.stderr)
    done = run_script(*words)
    assert done.returncode == 0, done.stderr
    return done


def test_killed_before_and_after_each_step_a_rollback_and_its_undo_end_as_if_they_had_not_been(
    store: Store, tmp_path: Path
) -> None:
    before = store.bars()
    words = ("rollback_data.sh", "2024-02-01", "ETHUSDT")
    done = killed_at_each_step(tmp_path, ("autotrader.data.rollback", REPROCESS), *words, *WHY)
    assert "reprocess: data_pipeline derives the day again" in done.stderr  # and finds it triggered
    gone = (pl.col("instrument") == "ETHUSDT") & (pl.col("ts") < DAY + timedelta(days=1))
    assert store.bars().equals(before.filter(~gone))
    (hold,) = SqlHolds(open_database(Settings().database_url)).in_force()
    assert f"--undo {hold.id}" in done.stderr
    assert len(store.airflow.runs) == len(operations(store.home)) == 1
    assert [told for told in store.events() if "taken back" in told] == [
        told for told in store.events() if "240 bars of binance:ETHUSDT" in told
    ]

    undo = ("--undo", hold.id, *WHY, "--no-reprocess")
    killed_at_each_step(tmp_path, ("autotrader.data.rollback",), *words, *undo)
    assert store.bars().equals(before)
    assert not SqlHolds(open_database(Settings().database_url)).in_force()
    assert len(operations(store.home)) == 2


def test_killed_before_and_after_each_step_a_restore_ends_as_if_it_had_not_been(
    store: Store, tmp_path: Path
) -> None:
    before = store.bars()
    shutil.rmtree(store.home / "lake" / "bars")
    words = ("restore_data.sh", "--date", "2024-02-01", *WHY)
    killed_at_each_step(tmp_path, ("autotrader.ingestion.restore", REPROCESS), *words)
    assert store.bars().equals(before.filter(pl.col("ts") < DAY + timedelta(days=1)))
    assert len(store.airflow.runs) == len(operations(store.home)) == 1


def test_bars_that_the_lake_lost_come_back_and_a_kill_changes_nothing_of_it(
    store: Store, tmp_path: Path
) -> None:
    before = store.bars()
    shutil.rmtree(store.home / "lake" / "bars")
    words = ("restore_data.sh", "--date", "2024-02-01", "--instrument", "ETHUSDT", *WHY)
    killer = killing_python(tmp_path, "after", REPROCESS)
    killed = run_script(*words, environment={"AUTOTRADER_PYTHON": str(killer)})
    assert killed.returncode == -9
    done = run_script(*words)
    assert (done.returncode, "restore: done before" in done.stderr) == (0, True), done.stderr
    assert store.bars().equals(before.filter(pl.col("instrument") == "ETHUSDT").head(BARS))
    all_of_day = run_script("restore_data.sh", "--date", "2024-02-02", *WHY, "--no-reprocess")
    assert all_of_day.returncode == 0, all_of_day.stderr
    assert store.bars().height == 3 * BARS
    assert len(store.airflow.runs) == 1


def test_a_restated_page_is_recorded_as_a_restatement(store: Store) -> None:
    store.archive.store(page("BTCUSDT", DAY, bump=1))
    shown = run_script("restore_data.sh", "--date", "2024-02-01", "--reason", "late", "--dry-run")
    assert f"would store 0 bars that are missing, and restate {BARS}" in shown.stderr, shown.stderr
    done = run_script("restore_data.sh", "--date", "2024-02-01", *WHY)
    assert (done.returncode, f"{BARS} were restated" in done.stderr) == (0, True), done.stderr
    again = run_script("restore_data.sh", "--date", "2024-02-01", *WHY)
    assert (again.returncode, "0 were restated" in again.stderr) == (0, True), again.stderr


def test_a_day_that_the_archive_does_not_have_is_told_with_the_nearest_ones(store: Store) -> None:
    done = run_script("restore_data.sh", "--date", "2024-02-07", *WHY)
    assert done.returncode == 1
    assert (
        "of 2024-02-07 in the archive, was none: the nearest days are 2024-02-01, 2024-02-02" in done.stderr
    )


def test_the_whole_lake_is_rebuilt_beside_it_swapped_and_swapped_back(store: Store, tmp_path: Path) -> None:
    before = store.bars()
    damaged = before.height - BARS
    assert run_script("rollback_data.sh", "2024-02-01", "BTCUSDT", *WHY, "--no-reprocess").returncode == 0
    stolen = store.bars()
    assert stolen.height == damaged

    shown = run_script("restore_all_data.sh", "--reason", "damage", "--dry-run")
    assert "from 4 archived pages of 2024-02-01 to 2024-02-02" in shown.stderr, shown.stderr

    store.airflow.runs["nightly"] = {"conf": {}, "state": "running"}
    busy = run_script("restore_all_data.sh", *WHY)
    assert (busy.returncode, "nightly" in busy.stderr) == (4, True), busy.stderr
    store.airflow.runs.clear()

    for when in ("after autotrader.ingestion.rebuild", "before autotrader.ingestion.swap_rebuilt"):
        killer = killing_python(tmp_path, *when.split())
        killed = run_script("restore_all_data.sh", *WHY, environment={"AUTOTRADER_PYTHON": str(killer)})
        assert killed.returncode == -9
    done = run_script("restore_all_data.sh", *WHY)
    assert done.returncode == 0, done.stderr
    assert store.bars().equals(stolen)  # the hold is respected: it was lived through again
    name = done.stderr.split("--undo ")[-1].split()[0]
    assert (store.home / "lake" / f"_set_aside-{name}" / "bars").is_dir()
    undone = run_script("restore_all_data.sh", "--undo", name, *WHY)
    assert undone.returncode == 0, undone.stderr
    assert store.bars().equals(stolen)
    assert (store.home / "lake" / f"_rebuilt-{name}" / "bars").is_dir()


def test_bars_that_the_archive_lacks_are_not_swapped_away(store: Store) -> None:
    before = store.bars()
    shutil.rmtree(store.home / "archive" / "2024-02-02" / "binance" / "ETHUSDT")
    refused = run_script("restore_all_data.sh", *WHY)
    assert (refused.returncode, f"was {BARS} that the archive does not have" in refused.stderr) == (4, True)
    assert store.bars().equals(before)


def test_a_lake_in_a_bucket_is_rebuilt_in_its_place_and_one_that_was_killed_after_its_end_is_done(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.bars()
    words = ("restore_all_data.sh", *WHY)
    with local_aws(tmp_path) as url:
        with_credentials(monkeypatch)
        within = {
            **AWS_ENVIRONMENT,
            "AUTOTRADER_AWS__ENDPOINT_URL": url,
            "AUTOTRADER_AWS__REGION": REGION,
            "AUTOTRADER_LAKE__URI": f"s3://{new_bucket(url)}/lake",
            "AUTOTRADER_LAKE__ARCHIVE_URI": str(store.home / "archive"),
        }
        for when in ("before", "after"):
            killer = killing_python(tmp_path, when, "autotrader.ingestion.rebuild")
            killed = run_script(*words, environment={**within, "AUTOTRADER_PYTHON": str(killer)})
            assert killed.returncode == -9, killed.stderr
        done = run_script(*words, environment=within)
        assert (done.returncode, "nothing is left to do" in done.stderr) == (0, True), done.stderr
        (operation,) = operations(store.home)
        rebuilt = (operation / "rebuild.out").read_text()
        assert f"{before.height}" in rebuilt
        again = run_script(*words, environment=within)
        assert (again.returncode, "expected a lake without bars" in again.stderr) == (4, True), again.stderr
