"""What a failover makes its database of, as old as it may be and no older."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.adapters.aws_database import Instance, Snapshot
from autotrader.adapters.folder_objects import FolderObjects
from autotrader.continuity import sets
from autotrader.continuity.failover_source import Source, choose
from autotrader.continuity.places import LAKE, MAIN
from autotrader.continuity.sets import BackupSet, DatabasePart
from autotrader.domain.errors import NotFound, Refused

LOST = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
THERE = Instance("available", "host:5432", None)


@dataclass
class Database:
    """Of the region gone to: its newest snapshot was taken so long before the loss."""

    age: timedelta | None = None
    there: Instance | None = None

    def newest_snapshot(self) -> Snapshot | None:
        return None if self.age is None else Snapshot("snap", LOST - self.age)

    def instance(self) -> Instance | None:
        return self.there


def add_set(store: FolderObjects, age: timedelta, *, part: str = MAIN) -> str:
    at = LOST - age
    parts = (DatabasePart(part, "postgresql", "0" * 64, 1, ()),)
    made = BackupSet(f"{at:%Y%m%dT%H%M%SZ}", "production", "me", at, at, at, parts, (), ())
    sets.complete(store, made)
    return made.id


def chosen(database: Database, store: FolderObjects, *, accept_data_loss: bool = False) -> Source:
    return choose(
        database,  # type: ignore[arg-type]
        store,
        lost_at=LOST,
        rpo=HOUR,
        accept_data_loss=accept_data_loss,
    )


@pytest.fixture
def store(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path)


def test_a_snapshot_within_the_objective_is_enough(store: FolderObjects) -> None:
    add_set(store, HOUR / 60)
    assert chosen(Database(HOUR), store) == Source("snap", None, HOUR)


def test_one_that_was_taken_after_the_loss_loses_nothing(store: FolderObjects) -> None:
    assert chosen(Database(-HOUR), store).lost == timedelta(0)


def test_where_the_snapshot_is_too_old_the_rows_of_a_newer_set_follow_it_and_it_says_so(
    store: FolderObjects,
) -> None:
    made = add_set(store, HOUR / 2)
    found = chosen(Database(2 * HOUR), store, accept_data_loss=True)
    assert (found.snapshot, found.backup_set, found.lost) == ("snap", made, HOUR / 2)
    assert f"was snap of 2024-03-01 10:00:00 UTC: set {made} is newer" in found.reason


def test_without_a_snapshot_a_set_goes_into_the_database_that_is_there(store: FolderObjects) -> None:
    made = add_set(store, HOUR / 2)
    assert chosen(Database(there=THERE), store).backup_set == made
    with pytest.raises(NotFound, match="or a database and a set"):
        chosen(Database(), store)


@pytest.mark.parametrize("age", [timedelta(hours=1, seconds=1), timedelta(days=1)])
def test_nothing_older_than_the_objective_is_taken_unless_that_is_accepted(
    store: FolderObjects, age: timedelta
) -> None:
    add_set(store, age)
    with pytest.raises(Refused, match=r"2:00:00 would be lost; --accept-data-loss"):
        chosen(Database(2 * HOUR), store)
    assert chosen(Database(2 * HOUR), store, accept_data_loss=True) == Source("snap", None, 2 * HOUR)
    with pytest.raises(NotFound):
        chosen(Database(there=THERE), store)


def test_a_set_that_is_damaged_or_of_something_else_is_passed_over(
    store: FolderObjects, tmp_path: Path
) -> None:
    good = add_set(store, HOUR / 2)
    damaged = add_set(store, HOUR / 4)
    (tmp_path / f"sets/{damaged}/manifest.json").write_text("half")
    add_set(store, HOUR / 8, part=LAKE)
    assert chosen(Database(2 * HOUR), store).backup_set == good
