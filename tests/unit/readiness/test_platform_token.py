"""The end of the token that Alertmanager uses is told in time, and what to run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.access.authentication import issue
from autotrader.config.settings import Settings, load_settings
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Scope
from autotrader.readiness.findings import Finding, State
from autotrader.readiness.platform_token import token_finding
from tests.fakes.clocks import SettableClock
from tests.fakes.tokens import InMemoryTokens

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NATIVE, COMPOSE = "scripts/setup-monitoring.sh", "scripts/monitoring.sh start"


class Scene:
    """Tokens that the platform knows, files of them, and what Alertmanager says that it reads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tokens = InMemoryTokens()
        self.reads: str | None = None

    def file(self, folder: str) -> Path:
        return self.settings.home.resolve() / folder / "secrets" / "platform-token"

    def make(
        self, days_left: float, *, folder: str | None = "monitoring", identity: str = "alertmanager"
    ) -> str:
        now = NOW - timedelta(days=90 - days_left)
        text, stored = issue(identity, [Scope.READ, Scope.OPERATE], [], days=90, actor="test", now=now)
        self.tokens.add(stored, event(stored.id))
        if folder is not None:
            self.file(folder).parent.mkdir(parents=True, exist_ok=True)
            self.file(folder).write_text(text)
        return stored.id

    def look(self) -> Finding:
        said = None if self.reads is None else f"  authorization:\n    credentials_file: {self.reads}\n"
        return token_finding(self.settings, self.tokens, SettableClock(NOW), lambda: said)


def event(key: str) -> Event:
    return Event(key, EventType.AUDIT, "info", key, "test", NOW)


@pytest.fixture
def scene(home: Path) -> Scene:
    home.mkdir()
    return Scene(load_settings())


@pytest.mark.parametrize(
    ("days_left", "state", "said"),
    [
        (31, State.OK, "31 days left"),
        (29, State.WARNING, "29 days left, expected 30 or more"),
        (-1, State.FAILED, "is refused by the API: expected a token in force, was one until 2026-02-28"),
    ],
)
def test_its_days_are_counted(scene: Scene, days_left: float, state: State, said: str) -> None:
    scene.make(days_left)
    found = scene.look()
    assert (found.state, said in found.reason) == (state, True), found
    assert found.todo == ("" if state is State.OK else NATIVE)


@pytest.mark.parametrize("ended", ["revoked", "unknown"])
def test_one_that_is_refused_fails(scene: Scene, ended: str) -> None:
    token = scene.make(80)
    if ended == "revoked":
        scene.tokens.revoke(token, NOW, event("revoked"))
    else:
        scene.tokens = InMemoryTokens()  # as after a restore of an older database
    found = scene.look()
    assert (found.state, "is refused by the API" in found.reason, found.todo) == (State.FAILED, True, NATIVE)
    assert scene.file("monitoring").read_text() not in found.reason


def test_of_two_files_that_which_alertmanager_reads_counts(scene: Scene) -> None:
    scene.make(80, folder="monitoring-compose")
    scene.make(5, folder="monitoring")
    for reads in (None, str(scene.file("monitoring"))):
        scene.reads = reads
        assert (scene.look().state, scene.look().todo) == (State.WARNING, NATIVE)
    scene.reads = "/run/autotrader/platform-token"
    assert scene.look().state is State.OK
    scene.make(-3, folder="monitoring-compose")
    assert (scene.look().state, scene.look().todo) == (State.FAILED, COMPOSE)


def test_where_the_file_is_on_another_machine_the_newest_that_was_made_for_it_counts(scene: Scene) -> None:
    assert scene.look().state is State.NOT_APPLICABLE
    scene.reads = "/run/autotrader/platform-token"
    assert scene.look().state is State.FAILED
    scene.make(80, folder=None, identity="alice")
    scene.make(-10, folder=None)
    found = scene.look()
    assert (found.state, "expired 10 days ago" in found.reason) == (State.FAILED, True)
    scene.make(20, folder=None)
    found = scene.look()
    assert found.state is State.WARNING
    assert all(words in found.todo for words in (NATIVE, COMPOSE, "metrics-token"))
    scene.tokens.revoke(scene.make(89, folder=None), NOW, event("revoked"))
    assert scene.look().state is State.WARNING
