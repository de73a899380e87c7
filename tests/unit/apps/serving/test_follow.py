"""A container of a colour does what its order says; a real service is ordered, changed and taken away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from autotrader.apps.serving import follow as follow_module
from autotrader.apps.serving.follow import Follower, follow
from autotrader.config.serving_orders import order_path, read_order, withdraw_order, write_order
from autotrader.config.settings import Settings
from autotrader.domain.errors import BadData, ExitCode
from autotrader.domain.rollout import Color
from tests.fakes.http_server import Handler, listening
from tests.services import free_port
from tests.serving import TOKEN, make_release


def wait_for(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_an_order_is_read_as_it_was_written_until_it_is_withdrawn(tmp_path: Path) -> None:
    assert read_order(tmp_path, Color.BLUE) is None
    write_order(tmp_path, Color.BLUE, "/releases/v1")
    write_order(tmp_path, Color.BLUE, "/releases/v2")
    assert (read_order(tmp_path, Color.BLUE), read_order(tmp_path, Color.GREEN)) == ("/releases/v2", None)
    for _ in range(2):
        withdraw_order(tmp_path, Color.BLUE)
    assert read_order(tmp_path, Color.BLUE) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "release"])
def test_a_file_that_is_no_order_is_refused(text: str, tmp_path: Path) -> None:
    path = order_path(tmp_path, Color.BLUE)
    path.parent.mkdir(parents=True)
    path.write_text(text)

    with pytest.raises(BadData, match="delete it"):
        read_order(tmp_path, Color.BLUE)


def test_one_that_ends_by_itself_is_begun_again_after_a_pause_and_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_order(tmp_path, Color.BLUE, "/releases/v1")
    count = tmp_path / "count"
    ends = (sys.executable, "-S", "-c", f"open({str(count)!r}, 'a').write('x')")
    follower = Follower(tmp_path, Color.BLUE, port=1, serve=ends, grace_seconds=60)
    monkeypatch.setattr(follow_module, "PAUSE_SECONDS", 1000.0)
    follower.step()
    wait_for(lambda: follower.pid is None, "its end")
    follower.step()
    assert (follower.pid, count.read_text()) == (None, "x")
    now = time.monotonic()
    monkeypatch.setattr(follow_module, "time", SimpleNamespace(monotonic=lambda: now + 1000.0))
    follower.step()
    wait_for(lambda: count.read_text() == "xx", "another one")
    follower.end()


def test_what_serves_goes_on_when_its_order_is_spoilt(tmp_path: Path) -> None:
    write_order(tmp_path, Color.BLUE, "/releases/v1")
    lives = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
    follower = Follower(tmp_path, Color.BLUE, port=1, serve=lives, grace_seconds=60)
    follower.step()
    serves = follower.pid
    order_path(tmp_path, Color.BLUE).write_text("{")
    follower.step()
    assert follower.pid == serves is not None
    withdraw_order(tmp_path, Color.BLUE)
    follower.step()
    assert follower.pid is None


def test_what_serves_goes_on_when_its_order_cannot_be_read(tmp_path: Path) -> None:
    write_order(tmp_path, Color.BLUE, "/releases/v1")
    lives = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
    follower = Follower(tmp_path, Color.BLUE, port=1, serve=lives, grace_seconds=60)
    follower.step()
    serves = follower.pid
    order_path(tmp_path, Color.BLUE).unlink()
    order_path(tmp_path, Color.BLUE).mkdir()  # as a share that answers with an error
    follower.step()
    assert follower.pid == serves is not None
    follower.end()


@pytest.mark.parametrize("is_well", [True, False])
def test_with_an_order_that_cannot_be_read_health_is_that_of_what_serves(
    tmp_path: Path, is_well: bool
) -> None:
    write_order(tmp_path, Color.BLUE, "/releases/v1")
    order_path(tmp_path, Color.BLUE).write_text("{")

    class Page(Handler):
        def respond(self) -> None:
            self.answer(200 if is_well else 503)

    with listening(Page) as url:
        port = int(url.rpartition(":")[2])
        settings = Settings(home=tmp_path, serving={"blue_port": port})  # type: ignore[arg-type]
        code = follow(settings=settings, color=Color.BLUE, check=True).exit_code
    assert code is (ExitCode.DONE if is_well else ExitCode.FAILED)


def test_nothing_ordered_is_well_and_what_is_ordered_and_silent_is_not(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, serving={"blue_port": free_port()})  # type: ignore[arg-type]
    assert follow(settings=settings, color=Color.BLUE, check=True).exit_code is ExitCode.DONE
    write_order(tmp_path, Color.BLUE, "/releases/v1")
    assert follow(settings=settings, color=Color.BLUE, check=True).exit_code is ExitCode.FAILED


def test_a_service_is_ordered_replaced_and_taken_away_and_ends_with_its_container(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "AUTOTRADER_HOME": str(tmp_path),
        "AUTOTRADER_SERVING__TOKEN": TOKEN,
        "AUTOTRADER_SERVING__BLUE_PORT": str(port),
        "AUTOTRADER_SERVING__DRAIN_SECONDS": "0.5",
    }
    command = [sys.executable, "-m", "autotrader.apps.serving.follow", "--color", "blue"]

    def version() -> str | None:
        try:
            said = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=2).json()
        except httpx.TransportError:
            return None
        return str(said["version"]) if said["ready"] else None

    container = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        for name in ("v1.2.3", "v1.2.4"):
            write_order(tmp_path, Color.BLUE, str(make_release(tmp_path / name, version=name)))
            wait_for(lambda name=name: version() == name, f"{name} to be served")
        withdraw_order(tmp_path, Color.BLUE)
        wait_for(lambda: version() is None, "nothing to be served")
        write_order(tmp_path, Color.BLUE, str(tmp_path / "v1.2.3"))
        wait_for(lambda: version() == "v1.2.3", "it to be served again")
        container.send_signal(signal.SIGTERM)
        assert container.wait(timeout=120) == 0
        assert version() is None
    finally:
        container.kill()
        container.communicate()
