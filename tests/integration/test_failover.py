"""A region failover against a local AWS: cut off anywhere, refused, unanswered, half lost, and back home."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
import sqlalchemy as sa

from autotrader.adapters.aws import client
from autotrader.adapters.aws_database import RegionDatabase
from autotrader.adapters.aws_region import Region
from autotrader.adapters.clocks import SystemWallClock
from autotrader.command import Result
from autotrader.config.aws_names import AwsNames, Process
from autotrader.config.settings import Settings
from autotrader.continuity import drill_regions, journal
from autotrader.continuity.drill_world import ACCOUNT, World, make_world, rows_of
from autotrader.continuity.failover import assemble, carry_out, journal_of
from autotrader.continuity.failover_processes import STARTED
from autotrader.continuity.failover_steps import Failover
from autotrader.continuity.journal import Journal
from autotrader.continuity.regions import names_in
from autotrader.continuity.sets import BackupSet
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.dumps import database_of
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.tables import MODEL_VERSIONS
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.deployment import requests, transitions
from autotrader.deployment.switching import scope_of
from autotrader.domain.errors import ConfigurationError, ExitCode, NotFound, Refused, Rejected, Unreachable
from autotrader.domain.rollout import DIRECT, FAST, Color, RolloutState, Stage
from autotrader.ports.deployment import Slot, SlotState
from autotrader.ports.events import EventType
from autotrader.ports.registry import ModelStatus
from tests.services import AWS_ENVIRONMENT, empty_database, local_aws, set_faults

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

CLOCK = SystemWallClock()
HOME, AWAY = "eu-west-1", "eu-central-1"


class Killed(BaseException):
    """In place of SIGKILL: nothing of ours catches it, and no failure is written down."""


@dataclass
class Disaster:
    """Two regions, of which the home one is lost."""

    world: World
    settings: Settings
    made: BackupSet

    def work(self, **changed: object) -> Failover:
        """A failover to the other region, as a new process of the command makes it."""
        work = drill_regions.assembled(self.world, self.settings, self.made)
        for name, value in changed.items():
            setattr(work, name, value)
        return work

    def journal(self, region: str = AWAY, by: str = "ann") -> Journal:
        return journal_of(self.settings, region, CLOCK, by)

    def run(self, work: Failover | None = None, *, take_over: bool = False) -> Result:
        return carry_out(work or self.work(), self.journal(), CLOCK, take_over=take_over)

    def names(self, region: str) -> AwsNames:
        return names_in(self.settings, region)

    def instances(self, region: str) -> list[str]:
        rds = client(self.settings.aws, "rds", region=region)
        return [found["DBInstanceIdentifier"] for found in rds.describe_db_instances()["DBInstances"]]

    def require_over(self, work: Failover) -> None:
        """All is in the other region, each thing was done once, and no row of before the copy is lost."""
        drill_regions.check(self.world, self.settings, work, AWAY)
        assert not [finding.fault for finding in self.world.findings if finding.fault]
        assert self.instances(AWAY) == [self.names(AWAY).database]
        engine = open_database(self.world.url)
        assert len(SqlEventLog(engine).recent(type=EventType.RECOVERY)) == 1
        assert len(SqlTradingRecords(engine).unanswered(ACCOUNT)) == 1
        engine.dispose()
        assert len(rows_of(self.world.url)) == 400 + 1  # and the event of the failover


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


def settings_of(url: str, database: str | None = None) -> Settings:
    aws = {"endpoint_url": url, "attempts": 1, "timeout_seconds": 60.0}
    plain = Settings(aws=aws)  # type: ignore[arg-type]
    if database is None:
        return plain
    return Settings(aws=aws, database={"url": database})  # type: ignore[arg-type]


@pytest.fixture
def empty_aws(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    httpx.post(f"{aws}/moto-api/reset", timeout=30, trust_env=False).raise_for_status()
    set_faults(aws)
    yield aws
    set_faults(aws)


@pytest.fixture
def disaster(empty_aws: str, tmp_path: Path) -> Iterator[Disaster]:
    world = make_world(settings_of(empty_aws), CLOCK, tmp_path)
    yield Disaster(world, *drill_regions.prepare(world))
    world.remove()


def killing(work: Failover, name: str, when: str) -> Failover:
    """It is killed before or after it takes this step; after: before that is written down."""
    steps = list(work.steps())

    def killed(act: Callable[[], object]) -> Callable[[], object]:
        def die() -> object:
            if when == "after":
                act()
            raise Killed

        return die

    work.steps = lambda: iter((n, killed(act) if n == name else act) for n, act in steps)  # type: ignore[assignment, method-assign, misc]
    return work


def test_killed_before_and_after_each_step_it_ends_as_if_it_had_not_been(disaster: Disaster) -> None:
    for name, _ in list(disaster.work().steps()):
        for when in ("before", "after"):
            with pytest.raises(Killed):
                disaster.run(killing(disaster.work(), name, when), take_over=True)
    with pytest.raises(Refused, match="--take-over if that process is dead"):
        disaster.run()
    work = disaster.work()
    assert disaster.run(work, take_over=True).exit_code is ExitCode.DONE
    disaster.require_over(work)
    assert disaster.journal().entries()[-1].what == journal.ENDED


# In the order in which they are made, the trader of the origin stopped before; of each the first, but
# where it says how many of the same action go well before it.
CALLS = (
    ("RestoreDBInstanceFromDBSnapshot", 0),
    ("PutSecretValue", 0),
    ("RegisterTaskDefinition", 0),
    ("UpdateService", 1),  # what is started
    ("Publish", 0),
)


def in_a_hurry(disaster: Disaster) -> Disaster:
    aws = disaster.settings.aws.model_copy(update={"timeout_seconds": 6.0})
    return replace(disaster, settings=disaster.settings.model_copy(update={"aws": aws}))


@pytest.mark.parametrize("kind", ["lost", "hang"])
def test_calls_whose_answers_are_lost_or_late_are_gone_on_from(
    disaster: Disaster, empty_aws: str, kind: str
) -> None:
    hurried = in_a_hurry(disaster)
    for action, after in CALLS:
        set_faults(empty_aws, {"action": action, "kind": kind, "after": after, "seconds": 9.0})
        with pytest.raises(Unreachable, match="did not answer"):
            hurried.run(hurried.work())
        assert httpx.get(f"{empty_aws}/_faults", timeout=60, trust_env=False).json() == [], action
    work = disaster.work()
    assert disaster.run(work).exit_code is ExitCode.DONE
    drill_regions.check(disaster.world, disaster.settings, work, AWAY)
    assert not [finding.fault for finding in disaster.world.findings if finding.fault]
    assert disaster.instances(AWAY) == [disaster.names(AWAY).database]


@pytest.mark.parametrize("kind", ["lost", "hang"])
def test_a_trader_that_may_not_have_been_stopped_keeps_the_other_from_starting(
    disaster: Disaster, empty_aws: str, kind: str
) -> None:
    set_faults(empty_aws, {"action": "UpdateService", "kind": kind, "seconds": 9.0})
    hurried = in_a_hurry(disaster)
    assert hurried.run(hurried.work()).exit_code is ExitCode.UNREACHABLE
    trader = disaster.work().target.service(disaster.names(AWAY).service(Process.TRADER))
    assert (trader or pytest.fail("no trader")).desired == 0
    work = disaster.work()
    assert disaster.run(work).exit_code is ExitCode.DONE
    drill_regions.check(disaster.world, disaster.settings, work, AWAY)
    assert not [finding.fault for finding in disaster.world.findings if finding.fault]


def nowhere(disaster: Disaster) -> Region:
    """The lost region, of which nothing answers."""
    dead = disaster.settings.aws.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    return Region(dead, disaster.names(HOME), HOME)


def test_of_a_region_that_does_not_answer_the_trader_is_replaced_once_a_person_vouches(
    disaster: Disaster,
) -> None:
    work = disaster.work(origin=nowhere(disaster))
    pending = disaster.run(work)
    trader = disaster.names(AWAY).service(Process.TRADER)
    assert (pending.exit_code, "Revoke its keys" in pending.text) == (ExitCode.UNREACHABLE, True)
    assert (work.target.service(trader) or pytest.fail(trader)).desired == 0
    api = work.target.service(disaster.names(AWAY).service(Process.API))
    assert (api or pytest.fail("no API")).desired == 1
    assert disaster.journal().entries()[-1].what == journal.PAUSED

    work = disaster.work(origin=nowhere(disaster), trader_is_stopped=True)
    assert disaster.run(work).exit_code is ExitCode.DONE
    assert (work.target.service(trader) or pytest.fail(trader)).desired == 1


def test_a_lost_region_that_says_no_is_as_one_that_says_nothing(disaster: Disaster, empty_aws: str) -> None:
    looked_at_there = len(STARTED) + 1 + len(Color)  # services, before the first one of the origin
    denied = {"kind": "error", "code": "AccessDeniedException", "status": 400, "after": looked_at_there}
    set_faults(empty_aws, {"action": "DescribeServices", **denied})
    done = disaster.run()
    assert done.exit_code is ExitCode.UNREACHABLE
    (stopped,) = [e for e in disaster.journal().entries() if e.step == "stop origin"]
    assert (stopped.data["stopped"], "AccessDenied" in str(stopped.data["reason"])) == (False, True)
    assert disaster.run().exit_code is ExitCode.DONE  # it answers again


def test_where_the_region_gone_to_says_no_nothing_is_done(disaster: Disaster, empty_aws: str) -> None:
    denied = {"kind": "error", "code": "AccessDeniedException", "status": 400}
    set_faults(empty_aws, {"action": "DescribeClusters", **denied})
    with pytest.raises(Rejected, match="AccessDenied"):
        disaster.run()
    home = disaster.work().origin.service(disaster.names(HOME).service(Process.TRADER))
    assert (home or pytest.fail("no trader")).desired == 1
    assert disaster.run().exit_code is ExitCode.DONE


def test_expired_credentials_are_said_and_change_nothing(disaster: Disaster, empty_aws: str) -> None:
    expired = {"kind": "error", "code": "ExpiredTokenException", "status": 400, "times": 99}
    set_faults(empty_aws, {"action": "*", **expired})
    for act in (disaster.work().check, disaster.run):
        with pytest.raises(ConfigurationError, match="renew the credentials"):
            act()
    set_faults(empty_aws)
    assert disaster.journal().entries() == []
    assert disaster.instances(AWAY) == []
    # In the middle: what was done is written down, and gone on from.
    set_faults(empty_aws, {"action": "PutSecretValue", **expired})
    with pytest.raises(ConfigurationError, match="renew the credentials"):
        disaster.run()
    set_faults(empty_aws)
    work = disaster.work()
    assert disaster.run(work).exit_code is ExitCode.DONE
    disaster.require_over(work)


NEWER = "v1.3.0"


def released_since(disaster: Disaster) -> SqlDeploymentRecords:
    """In the restored database a newer version is live, and another one is being rolled out."""
    strategy = disaster.settings.strategy.strategy_id
    engine = open_database(disaster.world.url)
    records = SqlDeploymentRecords(engine, strategy)
    begin = partial(
        requests.begin, records, strategy_id=strategy, goal=Stage.FINALIZE, reason="better", actor="ann"
    )
    endpoint, now = "http://127.0.0.1:9", CLOCK.now()
    records.set_slot(Slot(Color.BLUE, SlotState.READY, NEWER, None, endpoint, "up", now, "ann"))
    with engine.begin() as connection:
        is_newer = MODEL_VERSIONS.c.training_key == NEWER
        production = {"status": ModelStatus.PRODUCTION.value}
        connection.execute(sa.update(MODEL_VERSIONS).where(is_newer).values(production))
    rollout = begin(version=NEWER, profile=DIRECT, now=now, first=Stage.FINALIZE)
    transitions.complete(
        rollout,
        records.routes(),
        records.slots(),
        scope_of(disaster.settings),
        warm=timedelta(hours=24),
        actor="ann",
        at=now,
    ).apply(records, rollout)
    begin(version="v1.4.0", profile=FAST, now=CLOCK.now())
    return records


def test_what_serves_in_place_of_a_version_that_was_passed_over_is_recorded_as_live(
    disaster: Disaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that was not replicated yet when the region was lost."""
    with pytest.raises(Killed):
        disaster.run(killing(disaster.work(), "fence", "after"))  # the database was restored
    records = released_since(disaster)
    work = disaster.work()
    for name in ("model.onnx", "release.json"):
        work.releases.delete(f"{NEWER}/{name}")
    with monkeypatch.context() as patch:  # killed between the two halves of the record

        def die(*_: object, **__: object) -> NoReturn:
            raise Killed

        patch.setattr(transitions, "complete", die)
        with pytest.raises(Killed):
            disaster.run(work, take_over=True)
    assert [r.version for r in records.recent() if r.state is RolloutState.WORKING] == ["v1.2.0"]
    with pytest.raises(Killed):
        disaster.run(killing(disaster.work(), "verify", "before"), take_over=True)
    work = disaster.work()
    assert disaster.run(work, take_over=True).exit_code is ExitCode.DONE

    live = records.live()
    assert live is not None
    assert (live.version, live.previous_version, live.profile) == ("v1.2.0", NEWER, "direct")
    assert f"passed over {NEWER}: its release is not in s3://" in live.reason
    said = work.health(live.candidate)
    assert (said.ready, said.version) == (True, live.version)
    assert {route.owner(CLOCK.now()) for route in records.routes()} == {live.candidate}
    assert {c: s.version for c, s in records.slots().items()} == {Color.GREEN: "v1.2.0", Color.BLUE: None}
    made = [r for r in records.recent() if r.reason.startswith("region failover")]
    assert [r.version for r in made if r.state is RolloutState.COMPLETED] == ["v1.2.0"]
    (verified,) = [e for e in disaster.journal().entries() if (e.what, e.step) == ("done", "verify")]
    assert verified.data["live"] == "v1.2.0"
    drill_regions.check(disaster.world, disaster.settings, work, AWAY)
    # Once the release is there, it may be deployed: nobody takes it for live.
    begun = requests.begin(
        records,
        strategy_id=live.strategy_id,
        version=NEWER,
        profile=FAST,
        goal=Stage.FINALIZE,
        reason="it arrived",
        actor="ann",
        now=CLOCK.now(),
    )
    assert begun.previous_version == "v1.2.0"


def test_a_colour_that_does_not_serve_what_is_recorded_is_told(disaster: Disaster) -> None:
    work = disaster.work()
    serves = work.health
    steps = iter(work.steps())
    for name, act in steps:
        if name == "verify":
            work.health = lambda color: replace(serves(color), version="v9.9.9")
            work.settings = work.settings.model_copy(
                update={"deployment": work.settings.deployment.model_copy(update={"ready_seconds": 0.1})}
            )
            with pytest.raises(Unreachable, match=r"expected v1\.2\.0 on green, as is recorded"):
                act()
            break
        act()
    work.close()


def test_the_way_back_home_is_the_same_command(disaster: Disaster) -> None:
    assert disaster.run().exit_code is ExitCode.DONE
    settings = disaster.settings
    away_rds, home_rds = (client(settings.aws, "rds", region=region) for region in (AWAY, HOME))
    name = disaster.names(AWAY).database
    taken = away_rds.create_db_snapshot(DBInstanceIdentifier=name, DBSnapshotIdentifier="way-back")
    home_rds.copy_db_snapshot(
        SourceDBSnapshotIdentifier=taken["DBSnapshot"]["DBSnapshotArn"],
        TargetDBSnapshotIdentifier="way-back",
        SourceRegion=AWAY,
    )
    # Moto names an instance's first snapshot by the minute, and would make another by that name.
    for one in home_rds.describe_db_snapshots(SnapshotType="automated")["DBSnapshots"]:
        home_rds.delete_db_snapshot(DBSnapshotIdentifier=one["DBSnapshotIdentifier"])

    def back() -> Failover:
        work = assemble(
            settings,
            CLOCK,
            from_region=AWAY,
            to_region=HOME,
            actor="ann",
            reason="home is up again",
            lost_at=CLOCK.now(),
            urls=lambda _: disaster.world.url,
        )
        work.poll_seconds = 0.1
        work.health = lambda color: drill_regions.task_count(work, color)
        return work

    work = back()
    done = carry_out(work, disaster.journal(HOME), CLOCK)
    assert (done.exit_code, done.data["to"]) == (ExitCode.DONE, HOME)  # type: ignore[index]
    (pair,) = work.target.failover_pairs(str(settings.aws.hosted_zone))
    assert pair.primary["SetIdentifier"] == HOME
    assert sorted(disaster.instances(HOME)) == [name, f"{name}-before-{work.occasion}"]
    for region, desired in ((work.target, 1), (work.origin, 0)):
        for process in (Process.TRADER, Process.API):
            found = region.service(disaster.names(region.name).service(process))
            assert (found or pytest.fail("no service")).desired == desired
    engine = open_database(disaster.world.url)
    assert len(SqlTradingRecords(engine).unanswered(ACCOUNT)) == 2  # halted again: it came another time
    engine.dispose()


def test_the_copy_of_aws_backup_is_found_as_old_as_what_it_is_a_copy_of(disaster: Disaster) -> None:
    found = RegionDatabase(disaster.settings.aws, disaster.names(AWAY), AWAY).newest_snapshot()
    assert found is not None
    assert found.id.startswith("awsbackup:copyjob-")
    rds = client(disaster.settings.aws, "rds", region=HOME)
    listed = rds.describe_db_snapshots(DBInstanceIdentifier=disaster.names(HOME).database)["DBSnapshots"]
    assert not [one for one in listed if one["DBSnapshotIdentifier"].startswith("awsbackup:")]
    (original,) = rds.describe_db_snapshots(SnapshotType="awsbackup")["DBSnapshots"]
    assert found.created_at == original["SnapshotCreateTime"]
    other = AwsNames("production", "acme")
    assert RegionDatabase(disaster.settings.aws, other, AWAY).newest_snapshot() is None


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_where_the_snapshot_is_too_old_the_rows_of_the_replicated_set_follow(
    empty_aws: str, tmp_path: Path, kind: str
) -> None:
    settings = settings_of(empty_aws, empty_database(kind, tmp_path) if kind == "postgres" else None)
    world = make_world(settings, CLOCK, tmp_path / "world")
    try:
        disaster = Disaster(world, *drill_regions.prepare(world))
        time.sleep(2.1)  # the id of a set has seconds
        world.write(20)
        newer = world.back_up()
        drill_regions.replicate(world, disaster.settings)
        away = database_of(world.url).sibling("away")
        changed = {
            "rpo": timedelta(seconds=1),
            "lost_at": newer.as_of + timedelta(seconds=0.5),
            "urls": lambda _: away.url,
        }
        world.made.append(away)
        with pytest.raises(Killed):
            disaster.run(killing(disaster.work(**changed), "fence", "before"))
        done = disaster.run(disaster.work(**changed), take_over=True)
        assert done.exit_code is ExitCode.DONE
        database = [e for e in disaster.journal().entries() if (e.what, e.step) == ("done", "database")]
        assert [entry.data["set"] for entry in database] == [newer.id, newer.id]
        assert "rows_moved_aside" not in database[1].data  # the second run left them in their place
        assert database[0].data["not_of_the_set"] == ["trial_ledger"]
        assert rows_of(world.url).items() <= rows_of(away.url).items()
        assert len(rows_of(world.url)) == 420
    finally:
        world.remove()


def test_without_any_copy_it_says_what_there_would_have_to_be(disaster: Disaster) -> None:
    elsewhere = RegionDatabase(disaster.settings.aws, AwsNames("production", "acme"), AWAY)
    with pytest.raises(NotFound, match="expected a snapshot of the database, or a database and a set"):
        disaster.run(disaster.work(database=elsewhere))
