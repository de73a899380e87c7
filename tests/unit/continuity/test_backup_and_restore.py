"""A set comes back as it was, or is refused; what was there is moved aside, never lost."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.folder_objects import FolderObjects
from autotrader.config.settings import Settings
from autotrader.continuity import sets
from autotrader.continuity.backup import backup, make_set
from autotrader.continuity.list_backups import list_backups
from autotrader.continuity.restore import restore
from autotrader.continuity.verify import verify
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.locks import exclusive
from autotrader.domain.errors import (
    BadData,
    ConfigurationError,
    ExitCode,
    NotFound,
    Refused,
    Rejected,
    Unreachable,
)
from autotrader.ports.events import EventType
from tests.unit.continuity.conftest import add_bars, add_rows, keys

CLOCK = SystemWallClock()


def back_up(settings: Settings, *, name: str | None = None, keep: int = 14) -> sets.BackupSet:
    """A set; with a name, so that two of one second can be told apart."""
    made, _, _ = make_set(settings, CLOCK, to=settings.backup_uri, keep=keep)
    if name is None:
        return made
    folder = Path(settings.backup_uri) / "sets"
    renamed = dataclasses.replace(made, id=name)
    sets.begin(FolderObjects(folder.parent), name, by="me", at=made.began_at)
    sets.complete(FolderObjects(folder.parent), renamed)
    sets.forget(FolderObjects(folder.parent), made.id)
    return renamed


def bring_back(settings: Settings, **options: object) -> object:
    return restore(reason="a test", settings=settings, clock=CLOCK, **options)  # type: ignore[arg-type]


def objects(settings: Settings) -> list[Path]:
    return [path for path in (Path(settings.backup_uri) / "objects").rglob("*") if path.is_file()]


def test_all_comes_back_as_it_was_and_the_old_is_moved_aside(platform: Settings, home: Path) -> None:
    made = back_up(platform)
    add_rows(platform, "third")
    add_bars(platform, 2)
    (home / "archive/2024-01-01/binance/BTCUSDT/page.gz").write_bytes(b"damaged")
    bring_back(platform, confirm=made.id)
    assert keys(platform.database_url) == {"first", "second"}
    assert pl.read_delta(f"{platform.lake_uri}/bars").height == 2
    assert (home / "archive/2024-01-01/binance/BTCUSDT/page.gz").read_bytes() == b"a page"
    aside = next(home.glob("autotrader.db.replaced_*"))
    assert keys(f"sqlite:///{aside}") == {"first", "second", "third"}
    assert pl.read_delta(f"{next(home.glob('lake.replaced_*'))}/bars").height == 4
    add_bars(platform, 3)  # the log that came back is one that can be gone on with
    assert pl.read_delta(f"{platform.lake_uri}/bars").height == 4


def test_data_that_is_there_is_replaced_only_after_the_id_was_typed(platform: Settings) -> None:
    back_up(platform)
    add_rows(platform, "third")
    for options in ({}, {"confirm": "yes"}, {"into_empty": True}):
        with pytest.raises(Refused, match="nothing was changed"):
            bring_back(platform, **options)
    assert keys(platform.database_url) == {"first", "second", "third"}


def test_a_dry_run_says_what_would_be_moved_aside_and_does_nothing(platform: Settings, home: Path) -> None:
    back_up(platform)
    before = sorted(home.parent.rglob("*"))
    told = str(bring_back(platform, dry_run=True).text)  # type: ignore[attr-defined]
    assert "would move aside" in told
    assert sorted(home.parent.rglob("*")) == before


def test_a_set_can_be_looked_at_in_a_folder_of_its_own(platform: Settings, tmp_path: Path) -> None:
    back_up(platform)
    add_rows(platform, "third")
    bring_back(platform, to=tmp_path / "look", into_empty=True)
    assert keys(f"sqlite:///{tmp_path}/look/autotrader.db") == {"first", "second"}
    assert keys(platform.database_url) == {"first", "second", "third"}


def test_an_empty_reason_is_refused(platform: Settings) -> None:
    with pytest.raises(ConfigurationError, match="expected a reason"):
        restore(reason=" ", settings=platform, clock=CLOCK)


def test_what_did_not_change_is_not_copied_again(platform: Settings) -> None:
    back_up(platform, name="20240101T000000Z")
    before = {path.name for path in objects(platform)}
    add_rows(platform, "third")
    back_up(platform)
    # the database's dump alone; the ledger, lake, archive and their lists are shared
    assert len({path.name for path in objects(platform)} - before) == 1


def test_old_sets_are_forgotten_with_what_no_other_needs(platform: Settings) -> None:
    back_up(platform, name="20240101T000000Z")
    add_rows(platform, "third")
    newest = back_up(platform, keep=1)
    assert sets.complete_ids(FolderObjects(Path(platform.backup_uri))) == [newest.id]
    assert verify(settings=platform, clock=CLOCK).exit_code is ExitCode.DONE


def test_every_object_that_is_damaged_or_lost_is_found_before_anything_is_touched(platform: Settings) -> None:
    made = back_up(platform)
    for path in objects(platform):
        content = path.read_bytes()
        for damage in (lambda p=path, c=content: p.write_bytes(c + b"x"), lambda p=path: p.unlink()):
            damage()
            with pytest.raises(BadData, match="use another set"):
                bring_back(platform, confirm=made.id)
            assert keys(platform.database_url) == {"first", "second"}
            path.write_bytes(content)
    assert verify(settings=platform, clock=CLOCK).exit_code is ExitCode.DONE
    objects(platform)[0].write_bytes(b"")
    assert verify(settings=platform, clock=CLOCK).exit_code is ExitCode.FAILED


def test_a_manifest_that_was_changed_is_refused(platform: Settings) -> None:
    made = back_up(platform)
    path = Path(platform.backup_uri) / f"sets/{made.id}/manifest.json"
    content = json.loads(path.read_text())
    for damaged in ({**content, "set": {**content["set"], "by": "mallory"}}, {"format": 1}, "half"):
        path.write_text(json.dumps(damaged))
        with pytest.raises(BadData, match=r"expected .*manifest"):
            bring_back(platform, confirm=made.id)
    assert list_backups(settings=platform).exit_code is ExitCode.FAILED


def test_a_set_that_was_never_completed_is_none(platform: Settings) -> None:
    store = FolderObjects(Path(platform.backup_uri))
    sets.begin(store, "20240101T000000Z", by="me", at=CLOCK.now())
    with pytest.raises(NotFound, match="never completed"):
        bring_back(platform, set="20240101T000000Z")
    with pytest.raises(NotFound, match="newest: none"):
        bring_back(platform)


def test_two_backups_at_once_are_one_and_a_refusal(platform: Settings) -> None:
    engine = open_database(platform.database_url)
    with exclusive(engine, "backup"), pytest.raises(Unreachable, match="try again"):
        backup(settings=platform, clock=CLOCK)
    engine.dispose()


def test_the_log_tells_of_the_last_success_and_of_failures(
    platform: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(settings=platform, clock=CLOCK)

    def full(*_: object) -> None:
        raise Rejected("cannot write: the disk is full")

    monkeypatch.setattr(FolderObjects, "put", full)
    add_rows(platform, "third")
    monkeypatch.setattr(sets, "begin", lambda *_, **__: True)  # also within the same second
    with pytest.raises(Rejected, match="disk is full"):
        backup(settings=platform, clock=CLOCK)
    engine = open_database(platform.database_url)
    found = SqlEventLog(engine).recent(type=EventType.BACKUP)
    engine.dispose()
    assert [event.severity for event in found] == ["critical", "info"]
    assert found[1].data["component"] == "BACKUP"


def test_a_lake_that_lacks_a_file_is_not_backed_up_as_if_it_were_whole(platform: Settings) -> None:
    next(Path(platform.lake_uri).rglob("*.parquet")).unlink()
    with pytest.raises(BadData, match="rebuild it"):
        back_up(platform)
