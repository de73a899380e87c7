"""Of two operators at once, one is refused; whoever comes after a failure goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.adapters.folder_objects import FolderObjects
from autotrader.config.settings import Settings
from autotrader.continuity import journal
from autotrader.continuity.journal import Journal
from autotrader.continuity.regions import names_in, other_region
from autotrader.domain.errors import ConfigurationError, Refused


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2024, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(folder: Path, clock: Clock, by: str) -> Journal:
    return Journal(FolderObjects(folder), "eu-central-1", clock, by=by)


def test_a_second_operator_is_refused_until_the_first_is_silent(tmp_path: Path, clock: Clock) -> None:
    first, second = opened(tmp_path, clock, "ann"), opened(tmp_path, clock, "bob")
    first.begin(take_over=False, data={})
    with pytest.raises(Refused, match="was ann"):
        second.begin(take_over=False, data={})
    clock.at += journal.SILENCE + timedelta(seconds=1)
    assert [entry.by for entry in second.begin(take_over=False, data={})] == ["ann"]


def test_whoever_was_taken_over_from_finds_out_at_the_next_step(tmp_path: Path, clock: Clock) -> None:
    first, second = opened(tmp_path, clock, "ann"), opened(tmp_path, clock, "bob")
    first.begin(take_over=False, data={})
    second.begin(take_over=True, data={})
    with pytest.raises(Refused, match="was bob"):
        first.write(journal.DONE, "database")


@pytest.mark.parametrize("what", [journal.FAILED, journal.PAUSED])
def test_after_a_failure_or_a_pause_the_next_goes_on_at_once(tmp_path: Path, clock: Clock, what: str) -> None:
    first = opened(tmp_path, clock, "ann")
    first.begin(take_over=False, data={})
    first.write(journal.DONE, "check", {"snapshot": "s"})
    first.write(what, "database")
    before = opened(tmp_path, clock, "bob").begin(take_over=False, data={})
    assert [entry.data.get("snapshot") for entry in before if entry.step == "check"] == ["s"]


def test_a_failover_that_ended_is_not_gone_on_with(tmp_path: Path, clock: Clock) -> None:
    first = opened(tmp_path, clock, "ann")
    first.begin(take_over=False, data={})
    first.write(journal.ENDED, "end")
    assert opened(tmp_path, clock, "bob").begin(take_over=False, data={}) == []


def test_the_way_back_is_the_other_region_and_the_replicas_have_names_of_their_own() -> None:
    settings = Settings(aws={"region": "eu-west-1", "dr_region": "eu-central-1", "prefix": "acme"})  # type: ignore[arg-type]
    assert other_region(settings, "eu-central-1") == "eu-west-1"
    assert other_region(settings, "eu-west-1") == "eu-central-1"
    assert (names_in(settings, "eu-west-1").prefix, names_in(settings, "eu-central-1").prefix) == (
        "acme",
        "acme-dr",
    )
    with pytest.raises(ConfigurationError, match="expected region"):
        other_region(settings, "us-east-1")
