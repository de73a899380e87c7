"""Losses within a region, and the way back from each."""

from __future__ import annotations

import shutil
from pathlib import Path

from autotrader.adapters.objects import open_objects
from autotrader.continuity.drill_world import How, World
from autotrader.continuity.places import ARCHIVE, LAKE, LEDGER, MAIN, places_of
from autotrader.continuity.restore import restore
from autotrader.continuity.sets import BackupSet
from autotrader.db.dumps import database_of
from autotrader.domain.errors import BadData


def database_loss(world: World) -> None:
    """The database is gone; what was written after the last set is lost with it."""
    made = world.back_up()
    world.write(20)
    world.lose("the database", How.REAL, lambda: database_of(world.url).drop())
    _restore(world, made, MAIN, LEDGER)
    world.recovered = world.clock.monotonic()
    _verify_database(world, made)


def lake_loss(world: World) -> None:
    """The folder of the lake is gone."""
    made = world.back_up()
    world.lose("the lake", How.REAL, lambda: shutil.rmtree(world.settings.lake_uri))
    _restore(world, made, LAKE)
    world.compare_trees(LAKE)


def bucket_object_loss(world: World) -> None:
    """A third of the archive's objects is deleted, and one is overwritten."""
    made = world.back_up()
    place = open_objects(world.settings.archive_uri, world.settings.aws)

    def lose() -> None:
        keys = sorted(found.key for found in place.list())
        for key in keys[::3]:
            place.delete(key)
        place.write(keys[1], b"something else")

    world.lose("objects of a bucket", How.REAL, lose)
    _restore(world, made, ARCHIVE)
    world.compare_trees(ARCHIVE)


def complete_rebuild(world: World) -> None:
    """Nothing is left but the backups."""
    made = world.back_up()
    world.write(20)
    place = open_objects(world.settings.archive_uri, world.settings.aws)

    def lose() -> None:
        for url in places_of(world.settings).databases.values():
            database_of(url).drop()
        shutil.rmtree(world.settings.home)
        for found in list(place.list()):
            place.delete(found.key)

    world.lose("everything but the backups", How.REAL, lose)
    with world.step("infrastructure", How.STOOD_IN, "the buckets are left: Terraform is make infra-check's"):
        Path(world.settings.home).mkdir()
    _restore(world, made)
    world.compare_trees(LAKE, ARCHIVE)
    _verify_database(world, made)


def _restore(world: World, made: BackupSet, *parts: str) -> None:
    with world.step("restore", How.REAL) as tell:
        done = restore(
            reason="drill",
            set=made.id,
            only=parts,
            confirm=made.id,
            settings=world.settings,
            clock=world.clock,
        )
        tell(done.text.partition("\n")[0])


def _verify_database(world: World, made: BackupSet) -> None:
    """All tables but those that the restore itself writes are as they were in the set."""
    with world.step("compare tables", How.REAL, "by digest of their rows") as tell:
        part = next(part for part in made.databases if part.name == MAIN)
        after = {table.name: table for table in database_of(world.url).tables()}
        written = {"events", "controls", "leases"}
        different = [t.name for t in part.tables if t.name not in written and after.get(t.name) != t]
        if different:
            raise BadData(f"tables {', '.join(different)} are not as they were")
        tell(f"{len(part.tables) - len(written)} tables; the business log row by row")
    world.recovered = world.clock.monotonic()
