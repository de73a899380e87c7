"""The prediction service as a process: starts, refuses, drains, and is killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from autotrader.apps.serving import segments
from autotrader.apps.shipping.ship import ship_all
from autotrader.data.lake import Lake
from autotrader.data.predictions import PredictionStore
from tests.models import onnx_model
from tests.serving import TOKEN, TS, Service, body, described, make_release, packed, running

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path / "release")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def logged(folder: Path) -> list[segments.Record]:
    """All records in the folder's segments; none of them may be corrupt."""
    records = []
    for path in segments.find(folder):
        content = path.read_bytes()
        header, begin = segments.read_header(content)
        found = segments.scan(content, header, begin)
        assert found.corrupt is None
        records += found.records
    return records


class Form(NamedTuple):
    """How a caller writes and reads."""

    headers: dict[str, str]
    encode: Callable[[dict[str, Any]], bytes]
    decode: Callable[[bytes], Any]


FORMS = (
    Form({}, lambda asked: json.dumps(asked).encode(), json.loads),
    Form(
        {"Content-Type": "application/vnd.msgpack", "Accept": "application/vnd.msgpack"},
        lambda asked: msgspec.msgpack.encode(packed(asked)),
        msgspec.msgpack.decode,
    ),
)


class Caller(threading.Thread):
    """Asks one thing after the other over one connection until it is told to stop, or cut off."""

    def __init__(self, service: Service, name: str, form: Form) -> None:
        super().__init__(daemon=True)
        self._form = form
        self.acknowledged: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.cut_off = False
        self.stop = threading.Event()
        self._address = service.url.removeprefix("http://")
        self._name = name

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE_SECONDS)
        headers = {"Authorization": f"Bearer {TOKEN}", **self._form.headers}
        number = 0
        while not self.stop.is_set():
            request_id = f"{self._name}-{number}"
            number += 1
            try:
                connection.request(
                    "POST", "/predict", self._form.encode(body(request_id=request_id)), headers
                )
                answer = connection.getresponse()
                content = self._form.decode(answer.read())
            except (OSError, http.client.HTTPException):
                self.cut_off = True
                return
            self.statuses[answer.status] += 1
            if answer.status == 200:
                assert content["request_id"] == request_id
                self.acknowledged.append(request_id)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def under_load(service: Service, answers: int, *, callers: int = 6) -> list[Caller]:
    """Callers that go on asking, once so many requests of theirs were answered."""
    started = [Caller(service, f"caller-{n}", FORMS[n % 2]) for n in range(callers)]
    for caller in started:
        caller.start()
    wait_until(lambda: sum(len(caller.acknowledged) for caller in started) >= answers)
    return started


def wait_until_under_way(service: Service, requests: int) -> None:
    wait_until(lambda: service.client.get("/health").json()["requests_under_way"] == requests)


def accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=PATIENCE_SECONDS).close()
    except ConnectionError:
        return False
    return True


def test_what_was_acknowledged_survives_a_kill_under_load_and_comes_to_the_lake(
    release: Path, log: Path, tmp_path: Path
) -> None:
    with running(release, log) as service:
        callers = under_load(service, 500)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(10)
        for caller in callers:
            caller.join(PATIENCE_SECONDS)
    acknowledged = [request_id for caller in callers for request_id in caller.acknowledged]
    known = Counter(record.request_id for record in logged(log))
    assert set(acknowledged) <= set(known)
    assert max(known.values()) == 1
    assert len(known) - len(acknowledged) <= len(callers), "at most what was under way was not acknowledged"

    store = PredictionStore(Lake(str(tmp_path / "lake")))
    ship_all(log, store, keep_seconds=0)
    rows = store.read(start=datetime(2024, 3, 1, tzinfo=UTC), end=datetime(2024, 3, 2, tzinfo=UTC))
    assert sorted(rows["request_id"]) == sorted(known)


def test_a_drain_under_load_answers_all_that_was_accepted(release: Path, log: Path) -> None:
    environment = {"AUTOTRADER_SERVING__DRAIN_SECONDS": "60"}
    with running(release, log, environment=environment) as service:
        callers = under_load(service, 250)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        for caller in callers:
            caller.stop.set()
            caller.join(PATIENCE_SECONDS)
    assert sum((c.statuses for c in callers), Counter()).keys() == {200}
    acknowledged = {request_id for caller in callers for request_id in caller.acknowledged}
    assert {record.request_id for record in logged(log)} == acknowledged
    assert all(segments.is_finished(path) for path in segments.find(log))


def test_a_slow_body_is_waited_for_within_the_drain_and_not_beyond(release: Path, log: Path) -> None:
    content = json.dumps(body()).encode()
    head = (
        f"POST /predict HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {len(content)}\r\n\r\n"
    ).encode()
    for patience, whole in ((60, True), (1, False)):
        environment = {"AUTOTRADER_SERVING__DRAIN_SECONDS": str(patience)}
        with running(release, log, environment=environment) as service:
            host, port = service.url.removeprefix("http://").split(":")
            address = (host, int(port))
            with socket.create_connection(address, timeout=PATIENCE_SECONDS) as connection:
                connection.sendall(head + content[:10])
                wait_until_under_way(service, 1)
                service.process.send_signal(signal.SIGTERM)
                wait_until(lambda at=address: not accepts(at))  # type: ignore[misc]
                if whole:
                    connection.sendall(content[10:])
                    assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
                assert service.process.wait(30) == (0 if whole else 1)


def test_more_than_may_be_under_way_is_shed_and_health_still_answers(release: Path, log: Path) -> None:
    content = json.dumps(body()).encode()
    head = (
        f"POST /predict HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {len(content)}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        environment = {"AUTOTRADER_SERVING__MAX_CONCURRENCY": "3"}
        service = stack.enter_context(running(release, log, environment=environment))
        host, port = service.url.removeprefix("http://").split(":")
        slow = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS))
            for _ in range(3)
        ]
        for connection in slow:
            connection.sendall(head + content[:10])
        wait_until_under_way(service, 3)
        shed = service.predict()
        assert (shed.status_code, shed.headers["retry-after"]) == (503, "1")
        health = service.client.get("/health").json()
        assert (health["ready"], health["requests_under_way"]) == (True, 3)
        for connection in slow:
            connection.sendall(content[10:])
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        assert service.predict().status_code == 200


def test_a_full_disk_stops_the_answers_and_an_emptied_one_lets_them_go_on(release: Path, log: Path) -> None:
    with running(release, log) as service:
        assert service.predict(request_id="before").status_code == 200
        (segment,) = segments.find(log)
        room = segment.stat().st_size + 20
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        refused = service.predict(request_id="full")
        assert refused.status_code == 503
        assert "disk is full" in refused.json()["was"]
        health = service.client.get("/health")
        assert (health.status_code, health.json()["ready"]) == (503, False)
        assert "disk is full" in health.json()["reason"]
        resource.prlimit(
            service.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        wait_until(lambda: service.client.get("/health").is_success)
        assert service.predict(request_id="after").status_code == 200
    assert [record.request_id for record in logged(log)] == ["before", "after"]


def start(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autotrader.apps.serving", "--color", "blue", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env={**os.environ, "AUTOTRADER_SERVING__TOKEN": TOKEN},
    )


def test_a_service_that_cannot_start_says_why_in_one_line(release: Path, log: Path, tmp_path: Path) -> None:
    missing = start("--port", "0", "--release", str(tmp_path / "nowhere"), "--log", str(log))
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "nowhere" in missing.stderr

    (release / "model.onnx").write_bytes(described(onnx_model(seed=9)))
    changed = start("--port", "0", "--release", str(release), "--log", str(log))
    assert (changed.returncode, changed.stderr.count("\n")) == (4, 1)
    assert "sha256" in changed.stderr

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        busy = start("--port", port, "--release", str(make_release(release)), "--log", str(log))
    assert (busy.returncode, busy.stderr.count("\n")) == (2, 1)
    assert f"127.0.0.1:{port} to be free" in busy.stderr

    log.write_text("")
    unwritable = start("--port", "0", "--release", str(release), "--log", str(log))
    assert unwritable.returncode in (1, 3)
    assert unwritable.stderr.count("\n") == 1
    assert "prediction log" in unwritable.stderr


def test_the_shipping_process_brings_predictions_to_the_lake_until_it_is_told_to_stop(
    release: Path, log: Path, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    environment = {**os.environ, "AUTOTRADER_LAKE__URI": str(lake)}
    with running(release, log / "green", color="green") as service:
        words = ["-m", "autotrader.apps.shipping", "--log", str(log), "--every-seconds", "0.2", "--json"]
        shipping = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            for number in range(20):
                assert service.predict(request_id=f"r{number}", ts=[TS + number * 60_000_000]).is_success
            store = PredictionStore(Lake(str(lake)))
            deadline = time.monotonic() + PATIENCE_SECONDS
            day = {"start": datetime(2024, 3, 1, tzinfo=UTC), "end": datetime(2024, 3, 2, tzinfo=UTC)}
            while store.read(**day).height < 20:
                assert time.monotonic() < deadline
                assert shipping.poll() is None
                time.sleep(0.2)
            service.predict(request_id="last")
            shipping.send_signal(signal.SIGTERM)
            output, errors = shipping.communicate(timeout=PATIENCE_SECONDS)
            assert shipping.returncode == 0, errors
            assert json.loads(output)["inserted"] == 21
        finally:
            shipping.kill()
            shipping.communicate()
    rows = store.read(**day)
    assert set(rows["color"]) == {"green"}
    assert rows["request_id"].to_list()[0] in {"r0", "last"}
    assert rows.height == 21
