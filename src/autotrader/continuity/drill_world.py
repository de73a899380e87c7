"""A small platform to lose: a database with rows of known times, a lake, an archive, two regions."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

import polars as pl
import sqlalchemy as sa
from pydantic import SecretStr

from autotrader.adapters.drill_stack import make_bucket
from autotrader.adapters.objects import open_objects
from autotrader.config.settings import BackupSettings, DatabaseSettings, LakeSettings, Settings
from autotrader.continuity.backup import make_set
from autotrader.continuity.depot import sha256_of
from autotrader.continuity.places import places_of
from autotrader.continuity.sets import BackupSet
from autotrader.db.dumps import Database, database_of
from autotrader.db.engine import connect, open_database, reading
from autotrader.db.events import SqlEventLog
from autotrader.db.tables import EVENTS
from autotrader.domain.errors import AutotraderError, BadData
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType

_HOME_REGION, _DR_REGION = "eu-west-1", "eu-central-1"
_ROWS = 400
_PAGES = 40
ACCOUNT = "drill"


class How(StrEnum):
    """What a step proves."""

    REAL = "real"
    API = "AWS API only"  # the stand-in answers as AWS does, and nothing runs behind it
    STOOD_IN = "stood in"  # the drill did what AWS would have done


@dataclass(frozen=True, slots=True)
class Finding:
    """A step of a drill, and what it proved."""

    step: str
    seconds: float
    how: How
    told: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows before the loss against rows after the recovery.

    Attributes
    ----------
    lost : Mapping[str, datetime]
        Key to when it was written.
    changed : tuple of str
        Keys of those that are there and differ.
    """

    compared: int
    lost: Mapping[str, datetime]
    changed: tuple[str, ...]

    def rpo(self, lost_at: datetime) -> timedelta:
        """From the oldest row that was lost to the loss."""
        return max((lost_at - at for at in self.lost.values()), default=timedelta(0))

    def lost_before(self, instant: datetime) -> int:
        return sum(at < instant for at in self.lost.values())


@dataclass
class World:
    """What is lost and brought back.

    Attributes
    ----------
    settings : Settings
        Of the drill's own platform.
    url : str
        Of the database that is compared in the end; another one after a failover.
    lost_at, lost, recovered
        When, by the wall clock, and both by the monotonic one.
    """

    settings: Settings
    clock: WallClock
    folder: Path
    url: str
    findings: list[Finding] = field(default_factory=list)
    before: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    trees: dict[str, dict[str, str]] = field(default_factory=dict)
    made: list[Database] = field(default_factory=list)
    _lost_at: datetime | None = None
    lost: float = 0.0
    recovered: float = 0.0

    @property
    def lost_at(self) -> datetime:
        assert self._lost_at is not None  # noqa: S101 - every scenario loses something
        return self._lost_at

    @contextmanager
    def step(self, name: str, how: How, told: str = "") -> Iterator[Callable[[str], None]]:
        """Time a step; what it says goes to the table, and its error is a fault, not the drill's end."""
        began = self.clock.monotonic()
        said = [told]
        fault = ""
        try:
            yield said.append
        except AutotraderError as error:
            fault = str(error)
        seconds = round(self.clock.monotonic() - began, 3)
        self.findings.append(Finding(name, seconds, how, " ".join(filter(None, said)), fault))

    def write(self, rows: int = _ROWS) -> None:
        """More rows of the business log, each at its own instant."""
        engine = open_database(self.url)
        log = SqlEventLog(engine)
        with self.step(f"write {rows} rows", How.REAL):
            for _ in range(rows):
                key = uuid4().hex
                log.record(
                    Event(
                        key, EventType.TRADE, "info", f"row {key}", "drill", self.clock.now(), data={"n": key}
                    )
                )
        engine.dispose()

    def back_up(self) -> BackupSet:
        """One set into the bucket of backups."""
        began = self.clock.monotonic()
        made, depot, _ = make_set(self.settings, self.clock, to=self.settings.backup_uri, keep=14)
        told = f"set {made.id}, {depot.added} objects, as of {made.as_of:%T} UTC"
        seconds = round(self.clock.monotonic() - began, 3)
        self.findings.append(Finding("back up", seconds, How.REAL, told))
        return made

    def lose(self, what: str, how: How, act: Callable[[], None]) -> None:
        """Remember everything, then let it happen; the clock of the recovery starts."""
        self.before = rows_of(self.url)
        self.trees = {name: self.files(name) for name in places_of(self.settings).trees}
        with self.step(f"LOSE {what}", how):
            self._lost_at, self.lost = self.clock.now(), self.clock.monotonic()
            act()

    def files(self, tree: str) -> dict[str, str]:
        """Key to digest of every file of a tree."""
        place = open_objects(places_of(self.settings).trees[tree], self.settings.aws)
        found, copy = {}, self.folder / "looked-at"
        for listed in place.list():
            if "_delta_log/_last_checkpoint" not in listed.key:
                place.fetch(listed.key, copy)
                found[listed.key] = sha256_of(copy)
        return found

    def compare_trees(self, *names: str) -> None:
        """Every file is what it was."""
        for name in names:
            with self.step(f"compare {name}", How.REAL, "file by file") as tell:
                after = self.files(name)
                before = self.trees[name]
                different = [key for key in before if after.get(key) != before[key]]
                if different:
                    raise BadData(f"{len(different)} of {len(before)} files differ, such as {different[0]}")
                tell(f"{len(before)} files")
        self.recovered = self.clock.monotonic()

    def compare(self) -> Comparison:
        """Row by row."""
        after = rows_of(self.url)
        return Comparison(
            compared=len(self.before),
            lost={key: at for key, (at, _) in self.before.items() if key not in after},
            changed=tuple(
                key for key, (_, digest) in self.before.items() if key in after and after[key][1] != digest
            ),
        )

    def remove(self) -> None:
        """Databases of the drill on a server; its folder is its caller's."""
        for database in self.made:
            database.drop()


def make_world(settings: Settings, clock: WallClock, folder: Path) -> World:
    """The platform, with data; PostgreSQL where the settings have it, else SQLite."""
    drill_id = uuid4().hex[:8]
    prefix = f"drill-{drill_id}"
    home = folder / "home"
    live = database_of(settings.database_url)
    main = live.sibling(f"drill_{drill_id}") if live.kind == "postgresql" else None
    url = main.url if main else f"sqlite:///{home}/autotrader.db"
    own = settings.model_copy(
        update={
            "home": home,
            "aws": settings.aws.model_copy(
                update={"region": _HOME_REGION, "dr_region": _DR_REGION, "prefix": prefix}
            ),
            "database": DatabaseSettings(
                url=SecretStr(url), ledger_url=SecretStr(f"sqlite:///{home}/trials.db")
            ),
            "lake": LakeSettings(uri=str(home / "lake"), archive_uri=f"s3://{prefix}-data/archive"),
            "backup": BackupSettings(uri=f"s3://{prefix}-backups/sets"),
            "mlflow": type(settings.mlflow)(),
            "deployment": type(settings.deployment)(),
        }
    )
    world = World(own, clock, folder, url)
    if main is not None:
        world.made.append(main)
        _create(main)
    _make_buckets(world, prefix)
    open_database(own.ledger_url).dispose()
    world.write()
    _fill_archive(own)
    _fill_lake(own, clock)
    return world


def rows_of(url: str) -> dict[str, tuple[datetime, str]]:
    """Of the business log: key to when it was written, and a digest of the whole row."""
    engine = connect(url)
    columns = [column for column in EVENTS.c if column.name != "id"]
    try:
        with reading(engine) as connection:
            return {
                row.key: (row.at, hashlib.sha256(repr(tuple(row)).encode()).hexdigest())
                for row in connection.execute(sa.select(*columns).where(EVENTS.c.actor == "drill"))
            }
    finally:
        engine.dispose()


def _create(database: Database) -> None:
    url = sa.make_url(database.url)
    engine = connect(url.set(database="postgres").render_as_string(hide_password=False))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{url.database}"'))
    engine.dispose()


def _make_buckets(world: World, prefix: str) -> None:
    for region, begins in ((_HOME_REGION, prefix), (_DR_REGION, f"{prefix}-dr")):
        for name in ("data", "models", "backups"):
            make_bucket(world.settings.aws, f"{begins}-{name}", region)


def _fill_archive(settings: Settings) -> None:
    place = open_objects(settings.archive_uri, settings.aws)
    for number in range(_PAGES):
        place.write(
            f"2024-02-{1 + number % 28:02d}/binance/BTCUSDT/{number}.gz", gzip.compress(b"%d" % number)
        )


def _fill_lake(settings: Settings, clock: WallClock) -> None:
    start = clock.now().replace(microsecond=0)
    for part in range(3):
        times = [start + timedelta(minutes=1000 * part + n) for n in range(1000)]
        frame = pl.DataFrame(
            {"instrument": ["BTCUSDT"] * 1000, "ts": times, "close": [float(n) for n in range(1000)]}
        )
        frame.write_delta(
            f"{settings.lake_uri}/bars", mode="append", delta_write_options={"partition_by": ["instrument"]}
        )
