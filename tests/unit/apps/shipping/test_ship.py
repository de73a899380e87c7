"""Shipping: everything that was logged comes to the lake, once, whatever happens in between."""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from autotrader.apps.serving import prediction_log, segments
from autotrader.apps.serving.prediction_log import PredictionLog
from autotrader.apps.serving.segments import SegmentHeader, encode_header, encode_record
from autotrader.apps.shipping import journey
from autotrader.apps.shipping.ship import Shipment, ship, ship_all
from autotrader.config.settings import load_settings
from autotrader.data.lake import Lake
from autotrader.data.predictions import PredictionStore
from autotrader.domain.errors import ExitCode, NotFound, Refused

START, END = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC)
TS = 1_709_251_200_000_000


def header(color: str = "blue") -> SegmentHeader:
    return SegmentHeader(color, "m", "v1.2.3", "ab" * 32, "balanced-v1", "1m", ("a", "b"))


def record(number: int, rows: int = 2) -> bytes:
    ts = [TS + (number + n) * 60_000_000 for n in range(rows)]
    features = np.full((rows, 2), number, np.float32)
    probabilities = np.tile(np.array([0.2, 0.3, 0.5], np.float32), (rows, 1))
    name = ("binance:BTCUSDT", "binance:ETHUSDT")[number % 2]
    return encode_record(f"r{number}", name, TS, number % 2 == 1, ts, features, probabilities)


def logged(folder: Path, numbers: range, *, color: str = "blue") -> PredictionLog:
    log = PredictionLog(folder, header(color))
    for number in numbers:
        log.append(record(number))
    return log


@pytest.fixture
def store(tmp_path: Path) -> PredictionStore:
    return PredictionStore(Lake(str(tmp_path / "lake")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def in_lake(store: PredictionStore) -> pl.DataFrame:
    return store.read(start=START, end=END)


def test_open_and_finished_segments_of_both_colors_are_shipped(folder: Path, store: PredictionStore) -> None:
    logged(folder / "blue", range(3)).close()
    still_open = logged(folder / "green", range(2), color="green")
    assert ship_all(folder, store, keep_seconds=3600) == Shipment(2, 10, 10, open=1)
    still_open.append(record(9))
    assert ship_all(folder, store, keep_seconds=3600) == Shipment(2, 2, 2, open=1)
    rows = in_lake(store)
    assert rows.height == 12
    one = rows.filter(request_id="r1", color="blue").sort("row")
    assert one["row"].to_list() == [0, 1]
    assert one["ts"].dt.epoch("us").to_list() == [TS + 60_000_000, TS + 120_000_000]
    assert one["received_at"].dt.epoch("us").to_list() == [TS, TS]
    assert one.select("venue", "instrument", "interval", "version", "feature_set", "replayed").row(0) == (
        *("binance", "ETHUSDT", "1m", "v1.2.3", "balanced-v1", True),
    )
    assert one["a"].to_list() == [1.0, 1.0]
    assert one["p_up"].to_list() == pytest.approx([0.5, 0.5])
    still_open.close()


def test_a_shipped_segment_goes_when_it_is_finished_and_old(folder: Path, store: PredictionStore) -> None:
    log = logged(folder, range(2))
    assert ship_all(folder, store, keep_seconds=0).removed == 0, "it is still written to"
    log.close()
    assert ship_all(folder, store, keep_seconds=3600).removed == 0
    assert ship_all(folder, store, keep_seconds=0).removed == 1
    assert list(folder.iterdir()) == []
    assert in_lake(store).height == 4


def test_a_torn_end_of_a_dead_service_is_no_fault(folder: Path, store: PredictionStore) -> None:
    folder.mkdir()
    (folder / "dead.segment").write_bytes(encode_header(header()) + record(0) + record(1)[:-5])
    assert ship_all(folder, store, keep_seconds=0) == Shipment(1, 2, 2, removed=1)


def test_a_corrupt_segment_is_put_aside_beside_the_lake_with_the_reason_and_the_rest_goes_on(
    folder: Path, tmp_path: Path, store: PredictionStore
) -> None:
    folder.mkdir()
    damaged = bytearray(encode_header(header()) + record(0) + record(2) + record(4))
    damaged[-20] ^= 1
    (folder / "a-damaged.segment").write_bytes(bytes(damaged))
    (folder / "b-nothing.segment").write_bytes(b"no segment at all")
    logged(folder, range(1, 2)).close()
    assert ship_all(folder, store, keep_seconds=3600) == Shipment(3, 6, 6, quarantined=2)
    aside = tmp_path / "lake" / journey.ASIDE
    assert (aside / "a-damaged.segment").read_bytes() == bytes(damaged)
    assert "checksum" in (aside / "a-damaged.segment.reason").read_text()
    assert "header" in (aside / "b-nothing.segment.reason").read_text()
    assert not list(folder.glob("*-*damaged*"))
    assert ship_all(folder, store, keep_seconds=3600) == Shipment(1)
    assert sorted(set(in_lake(store)["request_id"])) == ["r0", "r1", "r2"]


def test_a_damaged_segment_that_is_still_written_to_stays(folder: Path, store: PredictionStore) -> None:
    log = logged(folder, range(2))
    content = bytearray(log.path.read_bytes())
    content[-1] ^= 1
    log.path.write_bytes(bytes(content))
    assert ship_all(folder, store, keep_seconds=0) == Shipment(1, 2, 2, open=1)
    log.close()
    assert ship_all(folder, store, keep_seconds=0).quarantined == 1


def test_a_segment_that_is_being_begun_is_left_alone(
    folder: Path, store: PredictionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is there before it is locked, and looks like one that a dead service left."""
    passes = []

    def flock(descriptor: int, operation: int) -> None:
        passes.append(ship_all(folder, store, keep_seconds=0))
        fcntl.flock(descriptor, operation)

    locks = SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
    monkeypatch.setattr(prediction_log, "fcntl", locks)
    log = logged(folder, range(3))
    assert passes == [Shipment()]
    log.close()
    assert ship_all(folder, store, keep_seconds=3600) == Shipment(1, 6, 6)


def _ship_and_die(lake: str, folder: str, where: str) -> None:
    target: dict[str, Callable[..., object]] = {
        "before the commit": PredictionStore.append,
        "after the commit": journey.write_atomically,
    }

    def die(*_: object, **__: object) -> object:
        os.kill(os.getpid(), signal.SIGKILL)
        return target

    if where == "before the commit":
        PredictionStore.append = die  # type: ignore[assignment, method-assign]
    elif where == "after the commit":
        journey.write_atomically = die  # type: ignore[assignment]
    else:
        Path.unlink = die  # type: ignore[assignment, method-assign]
    ship_all(Path(folder), PredictionStore(Lake(lake)), keep_seconds=0)


@pytest.mark.parametrize("where", ["before the commit", "after the commit", "before it is deleted"])
def test_a_kill_loses_nothing_and_doubles_nothing(
    folder: Path, tmp_path: Path, store: PredictionStore, where: str
) -> None:
    logged(folder, range(5)).close()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["autotrader.apps.shipping.journey"])
    process = context.Process(target=_ship_and_die, args=(str(tmp_path / "lake"), str(folder), where))
    process.start()
    process.join(180)
    assert process.exitcode == -signal.SIGKILL
    assert len(list(segments.find(folder))) == 1
    done = ship_all(folder, store, keep_seconds=0)
    assert done.removed == 1
    rows = in_lake(store)
    assert rows.height == 10
    assert rows.select("request_id", "row", "color").is_duplicated().sum() == 0


def test_many_rows_are_shipped_in_parts(
    folder: Path, store: PredictionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journey, "ROWS_AT_ONCE", 4)
    logged(folder, range(9)).close()
    assert ship_all(folder, store, keep_seconds=3600) == Shipment(1, 18, 18)
    assert ship_all(folder, store, keep_seconds=3600) == Shipment(1)


def test_a_single_pass_says_what_it_did_and_fails_where_something_was_put_aside(
    folder: Path, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    settings = load_settings()
    with pytest.raises(NotFound):
        ship(settings=settings, lake=lake, log=folder, once=True)
    logged(folder, range(2)).close()
    done = ship(settings=settings, lake=lake, log=folder, once=True)
    assert (done.data, done.exit_code) == (Shipment(1, 4, 4), ExitCode.DONE)
    (folder / "bad.segment").write_bytes(b"x")
    assert ship(settings=settings, lake=lake, log=folder, once=True).exit_code == ExitCode.FAILED
    assert json.dumps(done.text)


def test_two_do_not_ship_the_same_folder_at_once(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    with (folder / ".shipping.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="only one"):
            ship(settings=load_settings(), lake=Lake(str(tmp_path / "lake")), log=folder, once=True)


def test_one_that_leaves_waits_for_the_services_to_close_their_logs_and_ships_all(
    folder: Path, store: PredictionStore, tmp_path: Path
) -> None:
    open_log = logged(folder / "blue", range(2))
    with _leaving(folder, tmp_path, seconds=60) as shipper:
        time.sleep(1.5)
        assert shipper.poll() is None  # the service still answers what it was asked
        open_log.append(record(7))
        open_log.close()
        assert shipper.wait(180) == ExitCode.DONE
    assert in_lake(store)["request_id"].n_unique() == 3


def test_one_that_leaves_does_not_wait_for_ever_and_says_what_it_left(
    folder: Path, store: PredictionStore, tmp_path: Path
) -> None:
    still_open = logged(folder / "blue", range(2))
    with _leaving(folder, tmp_path, seconds=1) as shipper:
        out, _ = shipper.communicate(timeout=180)
        assert shipper.returncode == ExitCode.FAILED
    assert "1 were still written to after 1 s" in out
    assert in_lake(store)["request_id"].n_unique() == 2
    still_open.close()


@contextlib.contextmanager
def _leaving(folder: Path, tmp_path: Path, *, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A shipper that was told to end."""
    words = ["--log", str(folder), "--leave-seconds", str(seconds), "--every-seconds", "0.2"]
    shipper = subprocess.Popen(
        [sys.executable, "-m", "autotrader.apps.shipping", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "AUTOTRADER_LAKE__URI": str(tmp_path / "lake")},
    )
    try:
        deadline = time.monotonic() + 180
        while not list(folder.rglob("*.shipped")):  # it is at work
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shipper.send_signal(signal.SIGTERM)
        yield shipper
    finally:
        shipper.kill()
        shipper.communicate()
