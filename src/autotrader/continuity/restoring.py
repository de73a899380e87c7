"""A set back into databases and trees: first beside what is there, checked, then in its place.

Each part is staged under a name of its own, so that a restore that is killed goes on where it was,
and nothing that was there is touched before all of the set is known to be sound. What is replaced is
moved aside, and stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autotrader.adapters.objects import open_objects
from autotrader.config.settings import AwsSettings
from autotrader.continuity import lake_versions
from autotrader.continuity.depot import Depot
from autotrader.continuity.places import LAKE, Places
from autotrader.continuity.sets import BackupSet, DatabasePart, TreePart
from autotrader.continuity.trees import bring_back, kept_files
from autotrader.db.dumps import Database, database_of, differences
from autotrader.domain.errors import BadData, Refused
from autotrader.files import storage_errors, write_atomically
from autotrader.ports.objects import ObjectStore

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restoring:
    """One set on its way to its places.

    Parameters
    ----------
    made : BackupSet
    depot : Depot
    places : Places
    aws : AwsSettings
    scratch : Path
        A folder for one file at a time.
    only : Collection[str]
        Parts that are wanted.
    """

    made: BackupSet
    depot: Depot
    places: Places
    aws: AwsSettings
    scratch: Path
    only: Collection[str]

    def occupied(self) -> list[str]:
        """Where there is something already."""
        found = [database.name for _, database in self._databases() if database.exists()]
        for _, uri in self._trees():
            if next(iter(self._open(uri).list()), None) is not None:
                found.append(uri)
        return found

    def in_use(self) -> list[str]:
        """Who uses what would be replaced."""
        return [said for _, database in self._databases() if (said := database.in_use())]

    def stage(self, tell: Tell) -> None:
        """Bring every part beside its place, each object and each row checked.

        Raises
        ------
        BadData
            If the set is damaged; nothing that was there has been touched.
        """
        for part, database in self._databases():
            self._stage_database(part, self.staged_database(database))
            tell(f"{part.name}: {sum(table.rows for table in part.tables):,} rows as they were")
        for tree, uri in self._trees():
            self._stage_tree(tree, self._open(self.staged_tree(uri)))
            tell(f"{tree.name}: {tree.files:,} files as they were")

    def swap(self, progress: Path, aside: str, tell: Tell) -> list[str]:
        """Put what is staged in its place; what was there gets the ending `aside`.

        Parameters
        ----------
        progress : Path
            File that says that parts are being swapped, and with which ending: a restore that is
            killed here must go on, or old and new would be mixed.

        Returns
        -------
        list of str
            Where the old is now.
        """
        write_atomically(progress, json.dumps({"set": self.made.id, "aside": aside}).encode())
        moved = []
        for part, database in self._databases():
            old = database.sibling(aside)
            database.replace_with(self.staged_database(database), old)
            moved += [old.name] if old.exists() else []
            tell(f"{part.name}: in its place")
        for tree, uri in self._trees():
            self._swap_tree(uri, f"{uri}.{aside}")
            if next(iter(self._open(f"{uri}.{aside}").list()), None) is not None:
                moved.append(f"{uri}.{aside}")
            tell(f"{tree.name}: in its place")
        progress.unlink()
        return moved

    def drop_staged(self) -> None:
        """Remove what was staged, where it was only to be looked at."""
        for _, database in self._databases():
            self.staged_database(database).drop()
        for _, uri in self._trees():
            staged = self._open(self.staged_tree(uri))
            for found in list(staged.list()):
                staged.delete(found.key)

    def staged_database(self, database: Database) -> Database:
        return database.sibling(f"restoring_{self.made.id}")

    def staged_tree(self, uri: str) -> str:
        return f"{uri}.restoring-{self.made.id}"

    def _databases(self) -> Iterator[tuple[DatabasePart, Database]]:
        for part in self.made.databases:
            if part.name in self.only:
                database = database_of(self.places.databases[part.name])
                if database.kind != part.kind:
                    raise Refused(
                        f"expected a place of {part.kind} for {part.name}, was {database.name}: "
                        "set its URL, or leave the part out with --only"
                    )
                yield part, database

    def _trees(self) -> Iterator[tuple[TreePart, str]]:
        for part in self.made.trees:
            if part.name in self.only:
                yield part, self.places.trees[part.name]

    def _open(self, uri: str) -> ObjectStore:
        return open_objects(uri, self.aws)

    def _stage_database(self, part: DatabasePart, staged: Database) -> None:
        if staged.exists():
            with suppress(BadData):  # half of a copy
                if not differences(part.tables, staged.tables()):
                    return
            staged.drop()
        dump = self.scratch / "dump"
        self.depot.fetch(part.sha256, dump, what=f"the dump of {part.name}")
        staged.load(dump)
        dump.unlink()
        found = differences(part.tables, staged.tables())
        if found:
            raise BadData(f"expected {part.name} as it was in set {self.made.id}: {'; '.join(found[:3])}")

    def _stage_tree(self, part: TreePart, staged: ObjectStore) -> None:
        files = kept_files(part, self.depot, self.scratch)
        count = bring_back(files, self.depot, staged, self.scratch, what=part.name)
        if count != part.files:
            raise BadData(f"expected {part.files} files of {part.name} in set {self.made.id}, was {count}")
        if part.name == LAKE and tuple(lake_versions.plan(staged).tables) != tuple(part.tables):
            raise BadData(
                f"expected the tables of {part.name} as they were in set {self.made.id}, was otherwise"
            )

    def _swap_tree(self, uri: str, aside: str) -> None:
        staged = self.staged_tree(uri)
        if "://" not in uri:
            with storage_errors(f"replace {uri}"):
                if Path(staged).exists():
                    if Path(uri).exists():
                        Path(uri).rename(aside)
                    Path(staged).rename(uri)
            return
        # Objects cannot be renamed together: the old first, so that the two are never mixed.
        if next(iter(self._open(staged).list()), None) is None:
            return
        for source, target in ((uri, aside), (staged, uri)):
            above, _, name = source.rpartition("/")
            to = target.rpartition("/")[2]
            place = self._open(above)
            for found in list(place.list(f"{name}/")):
                place.rename(found.key, f"{to}/{found.key.removeprefix(f'{name}/')}")


def swap_under_way(progress: Path) -> tuple[str, str] | None:
    """The set and the ending of a swap that was killed; None where there is none."""
    if not progress.exists():
        return None
    told = json.loads(progress.read_bytes())
    return told["set"], told["aside"]
