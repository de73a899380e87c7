"""The data pipeline, a rebuild, a rollback and MLflow with everything in buckets of the local AWS."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_registry import MlflowRegistry
from autotrader.adapters.mlflow_tracking import MlflowTracker
from autotrader.data.places import ObjectPath
from autotrader.data.rollback import rollback
from autotrader.data.schemas import KEY
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.ingestion.commit import quarantine_table
from autotrader.ingestion.rebuild import rebuild
from tests.fakes.events import InMemoryEventLog
from tests.models import candidate
from tests.s3.buckets import REGION, in_bucket, new_bucket
from tests.services import AWS_ENVIRONMENT, fresh_database, mlflow_server
from tests.unit.data.test_commands import Registry
from tests.unit.pipelines.platform import NOW, Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BTC = InstrumentId(Venue.BINANCE, "BTCUSDT")


def platform_on(url: str, bucket: str, home: Path, *, prefix: str = "") -> Platform:
    home.mkdir(parents=True, exist_ok=True)
    lake = {"uri": f"s3://{bucket}/{prefix}lake", "archive_uri": f"s3://{bucket}/{prefix}archive"}
    return Platform.at(home, *SYMBOLS, lake=lake, aws={"region": REGION, "endpoint_url": url})


def keys_below(platform: Platform, uri: str) -> list[str]:
    place = platform.places(uri)
    assert isinstance(place, ObjectPath)
    return [found.key for found in place.bucket.below(place.prefix)]


def tables(platform: Platform) -> dict[str, pl.DataFrame]:
    bars = platform.store
    return {
        "bars": bars.bars.read(),
        "bars_history": bars.history.read(),
        "quarantine": quarantine_table(platform.lake).read(),
    }


@pytest.fixture
def platform(url: str, tmp_path: Path) -> Platform:
    return platform_on(url, new_bucket(url), tmp_path / "home")


def test_the_data_pipeline_leaves_on_s3_what_it_leaves_in_a_folder(
    platform: Platform, tmp_path: Path
) -> None:
    local = Platform.at(tmp_path / "local", *SYMBOLS)
    for number, each in enumerate((platform, local)):
        spoiled = each.bars[Venue.BINANCE]["ETHUSDT"]
        low = pl.when(pl.int_range(pl.len()) == 3000).then(-1.0).otherwise("low")
        assert each.run("first")["severity"] == "healthy"
        each.bars[Venue.BINANCE]["ETHUSDT"] = spoiled.with_columns(low=low, volume=spoiled["volume"] + 1)
        each.run("second", mode="backfill", start_date=f"{NOW - timedelta(days=1):%F}")
        assert list((each.settings.home / "staging").rglob("*.*")) == [], number
    assert keys_below(platform, platform.settings.staging_uri) == []
    arrival = ["ingested_at"]
    for name, rows in tables(local).items():
        assert rows.height, name
        assert_frame_equal(tables(platform)[name].drop(arrival), rows.drop(arrival))
    window = {"interval": Interval.M1, "start": NOW - timedelta(days=1), "end": NOW}
    mine, theirs = (
        each.features.training_frame([BTC], **window, as_of=NOW).drop(arrival, strict=False)
        for each in (platform, local)
    )
    assert mine.height == 1439  # the newest bar was not known yet
    assert_frame_equal(mine, theirs)
    assert platform.features.latest([BTC], interval=Interval.M1).height == 1


def test_steps_of_tasks_that_share_no_disk_hand_their_files_over(url: str, tmp_path: Path) -> None:
    bucket = new_bucket(url)

    def task(name: str) -> Platform:
        return platform_on(url, bucket, tmp_path / name)

    planned = task("plan").plan("r")
    works = [task(f"fetch-{n}").extract(work) for n, work in enumerate(planned)]
    assert len(works) == len(SYMBOLS)
    archived = [task("archive").archive_pages(work) for work in works]
    validated = [task("validate").validate(work) for work in archived]
    changed = task("commit").commit(validated, "r")
    transformed = [task("transform").transform(work) for work in changed]
    loaded = task("load").load(transformed, "r")
    assert task("health").health(planned, validated, loaded, "r")["severity"] == "healthy"
    assert keys_below(task("look"), task("look").settings.staging_uri) == []


def test_the_lake_is_rebuilt_from_an_archive_on_s3(platform: Platform, url: str, tmp_path: Path) -> None:
    platform.run("first")
    rows = platform.bars[Venue.BINANCE]["BTCUSDT"]
    platform.bars[Venue.BINANCE]["BTCUSDT"] = rows.with_columns(volume=rows["volume"] + 1)
    platform.run("second")
    into = f"s3://{new_bucket(url)}/again/lake"
    done = rebuild(
        into=into,
        settings=platform.settings,
        archive=platform.archive,
        decoders=platform.decoders,
        lake=platform.lake,
        holds=platform.holds,
        clock=platform.clock,
        places=platform.places,
    )
    assert done.lake == into
    assert "_rebuild_under_way" not in " ".join(keys_below(platform, into))
    again = platform_on(url, into.split("/")[2], tmp_path / "again", prefix="again/")
    for name, expected in tables(platform).items():
        assert_frame_equal(tables(again)[name], expected)
    assert tables(platform)["bars_history"].height > 0


def test_a_data_rollback_takes_bars_back_and_its_undoing_puts_them_back(platform: Platform) -> None:
    platform.run("first")
    before = platform.store.bars.read()

    def roll_back(**what: object) -> None:
        rollback(
            actor="ops",
            reason="bad",
            **what,
            settings=platform.settings,
            lake=platform.lake,
            holds=platform.holds,
            registry=Registry(),
            events=InMemoryEventLog(),
            clock=platform.clock,
            wall=SystemWallClock(),
        )

    roll_back(date=(NOW - timedelta(days=2)).date(), instrument="BTCUSDT")
    assert platform.store.bars.read(instruments=["BTCUSDT"]).height == before.height / 4
    platform.run("held")
    assert platform.store.bars.read(instruments=["BTCUSDT"]).height == before.height / 4
    (hold,) = platform.holds.in_force()
    roll_back(undo=hold.id)
    assert_frame_equal(platform.store.bars.read().sort(KEY), before.sort(KEY))


def test_a_model_is_registered_and_fetched_with_its_files_on_s3(url: str, tmp_path: Path) -> None:
    bucket = new_bucket(url)
    place = in_bucket(url, bucket, "mlflow")
    within = {**AWS_ENVIRONMENT, "MLFLOW_S3_ENDPOINT_URL": url}
    with mlflow_server(tmp_path, artifacts=f"s3://{bucket}/mlflow", environment=within) as uri:
        engine = open_database(fresh_database("sqlite", tmp_path))
        registry = MlflowRegistry(uri, engine, SqlEventLog(engine), SystemWallClock())
        run = MlflowTracker(uri, experiment="on-s3").start_run(key="k", name="training k")
        made = candidate(tmp_path / "made", "k", run, name="on-s3")
        version = registry.register(made, actor="training")
        fetched = registry.fetch_artifact(version, "model.onnx", tmp_path / "fetched")
        assert fetched.read_bytes() == made.onnx_path.read_bytes()
        assert any(o.key.endswith("/model.onnx") for o in place.bucket.below(place.prefix))
        assert not (tmp_path / "artifacts").exists()
        engine.dispose()
