"""The prediction log: what was appended can be read, and what could not be is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.apps.serving import segments
from autotrader.apps.serving.prediction_log import PredictionLog
from autotrader.apps.serving.segments import encode_header
from autotrader.domain.errors import BadData, DependencyError
from tests.unit.apps.serving.records import HEADER, read, record


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, HEADER)
    log.append(record(3, rows=2))
    found = read(log.path)
    assert not found.torn
    assert found.corrupt is None
    (one,) = found.records
    assert (one.request_id, one.instrument, one.received_at, one.replayed) == (
        "r3",
        "binance:BTCUSDT",
        7,
        True,
    )
    assert one.ts.tolist() == [1_709_251_200_000_000, 1_709_251_200_000_001]
    assert one.features.tolist() == [[3, 4], [5, 6]]
    assert one.probabilities.shape == (2, 3)
    log.close()


def test_a_segment_is_finished_when_its_writer_is_gone(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, HEADER)
    log.append(record(0))
    assert not segments.is_finished(log.path)
    log.close()
    assert segments.is_finished(log.path)


def test_a_segment_without_records_is_removed_at_the_end(tmp_path: Path) -> None:
    PredictionLog(tmp_path, HEADER).close()
    assert list(tmp_path.iterdir()) == []


def test_a_large_segment_is_followed_by_another(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, HEADER, segment_bytes=500)
    for number in range(20):
        log.append(record(number))
    log.maintain()
    paths = list(segments.find(tmp_path))
    assert len(paths) > 2
    assert [r.request_id for p in paths for r in read(p).records] == [f"r{n}" for n in range(20)]
    assert [segments.is_finished(p) for p in paths] == [True] * (len(paths) - 1) + [False]
    log.close()


def test_an_old_segment_is_finished_unless_it_is_empty(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, HEADER, segment_seconds=0)
    log.look_after()
    assert len(list(segments.find(tmp_path))) == 1
    log.append(record(0))
    log.look_after()
    assert len(list(segments.find(tmp_path))) == 2
    log.close()


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_end_shows_and_costs_nothing_before_it(tmp_path: Path, cut: int) -> None:
    content = encode_header(HEADER) + record(0) + record(1)
    _, begin = segments.read_header(content)
    found = segments.scan(content[:-cut], HEADER, begin)
    assert [r.request_id for r in found.records] == ["r0"]
    assert found.torn
    assert found.corrupt is None
    assert found.end == begin + len(record(0))


@settings(max_examples=60)
@given(st.data())
def test_no_changed_byte_is_taken_for_a_record(data: st.DataObject) -> None:
    content = bytearray(encode_header(HEADER) + record(0) + record(1))
    _, begin = segments.read_header(bytes(content))
    place = data.draw(st.integers(begin, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    found = segments.scan(bytes(content), HEADER, begin)
    assert found.corrupt is not None
    assert len(found.records) == (place - begin) // len(record(0))


def test_what_has_no_header_is_no_segment() -> None:
    for content in (b"", b"\0" * 64, encode_header(HEADER)[:20], record(0)):
        with pytest.raises(BadData, match="header"):
            segments.read_header(content)


def test_reading_goes_on_where_it_stopped() -> None:
    content = encode_header(HEADER) + b"".join(record(n, rows=3) for n in range(5))
    _, begin = segments.read_header(content)
    first = segments.scan(content, HEADER, begin, most_rows=6)
    rest = segments.scan(content, HEADER, first.end)
    assert [r.request_id for r in (*first.records, *rest.records)] == [f"r{n}" for n in range(5)]
    assert len(first.records) == 2


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
from autotrader.apps.serving.prediction_log import PredictionLog
from autotrader.domain.errors import Rejected
from tests.unit.apps.serving.records import HEADER, record, read

log = PredictionLog(Path(sys.argv[1]), HEADER)
log.append(record(0))
room = log.path.stat().st_size + 30
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        log.append(record(1))
    except Rejected as error:
        assert "disk is full" in str(error), error
    else:
        raise AssertionError("expected a full disk")
assert "disk is full" in log.fault
assert log.path.stat().st_size == room - 30
log.look_after()
assert log.fault, "nothing was freed"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.look_after()
assert log.fault is None, log.fault
assert log.path.stat().st_size == room - 30
log.append(record(2))
assert [r.request_id for r in read(log.path).records] == ["r0", "r2"]
"""


def test_a_full_disk_refuses_the_record_leaves_no_part_of_it_and_is_noticed_when_over(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
    )
    assert done.returncode == 0, done.stderr


def test_what_was_appended_survives_a_kill(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from autotrader.apps.serving.prediction_log import PredictionLog\n"
        "from tests.unit.apps.serving.records import HEADER, record\n"
        "log = PredictionLog(Path(sys.argv[1]), HEADER)\n"
        "for n in range(50): log.append(record(n))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    (path,) = segments.find(tmp_path)
    assert segments.is_finished(path)
    assert len(read(path).records) == 50


def test_a_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    with pytest.raises(DependencyError, match="cannot write the prediction log"):
        PredictionLog(tmp_path / "log" / "below", HEADER)
