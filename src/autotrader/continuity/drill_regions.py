"""The loss of a region, and the failover to the other one."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.adapters import drill_stack
from autotrader.adapters.ecs_services import VERSION
from autotrader.adapters.objects import open_objects
from autotrader.config.aws_names import Bucket, Process
from autotrader.config.settings import Settings
from autotrader.continuity.depot import Depot
from autotrader.continuity.drill_world import ACCOUNT, How, World
from autotrader.continuity.failover import assemble, carry_out, journal_of
from autotrader.continuity.failover_processes import STARTED
from autotrader.continuity.failover_steps import Failover
from autotrader.continuity.places import MAIN, Places
from autotrader.continuity.regions import names_in
from autotrader.continuity.restoring import Restoring
from autotrader.continuity.sets import BackupSet, load
from autotrader.db.dumps import database_of
from autotrader.db.engine import open_database
from autotrader.db.tables import MODEL_VERSIONS, ROLLOUTS, ROUTES
from autotrader.db.trading_tables import CONTROLS, LEASES, SYSTEM_STATE
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.domain.trading import RunStatus
from autotrader.ports.deployment import SlotHealth
from autotrader.ports.registry import ModelStatus
from autotrader.registry.lifecycle import GATES_PASSED

_LIVE, _NEWEST = "v1.2.0", "v1.3.0"


def region_failover(world: World) -> None:
    """The home region is given up, with rows written since the last snapshot."""
    settings, made = prepare(world)
    home, away = str(settings.aws.region), str(settings.aws.dr_region)
    world.write(20)
    work = assembled(world, settings, made)
    world.lose(f"region {home}", How.STOOD_IN, lambda: None)
    with world.step("failover, all steps", How.API) as tell:
        done = carry_out(work, journal_of(settings, away, world.clock, "drill"), world.clock)
        tell(done.text.replace("\n", " | "))
    check(world, settings, work, away)
    world.recovered = world.clock.monotonic()


def prepare(world: World) -> tuple[Settings, BackupSet]:
    """Two regions, the home one at work, and what was copied of it to the other: a snapshot and a set."""
    settings = _stack(world)
    home, away = str(settings.aws.region), str(settings.aws.dr_region)
    _fill_records(world, settings)
    made = world.back_up()
    with world.step("hourly snapshot, copied", How.API):
        drill_stack.copy_snapshot(settings.aws, names_in(settings, home), source=home, target=away)
    replicate(world, settings)
    return settings, made


def assembled(world: World, settings: Settings, made: BackupSet) -> Failover:
    """The failover to the DR region; in place of what RDS makes of the snapshot, a database of the set."""
    away = str(settings.aws.dr_region)

    def restored(_: str) -> str:
        return _restored_database(world, settings, made.id)

    work = assemble(
        settings,
        world.clock,
        from_region=str(settings.aws.region),
        to_region=away,
        actor="drill",
        reason="drill",
        lost_at=world.clock.now(),
        urls=restored,
    )
    work.poll_seconds = 0.1
    work.health = lambda color: task_count(work, color)
    return work


def _stack(world: World) -> Settings:
    """What Terraform makes in both regions."""
    settings = world.settings.model_copy(
        update={
            "aws": world.settings.aws.model_copy(
                update={"hosted_zone": f"{world.settings.aws.prefix}.example"}
            )
        }
    )
    home, away = str(settings.aws.region), str(settings.aws.dr_region)
    with world.step("stack in both regions", How.API, "as Terraform makes it"):
        for region, tasks in ((home, 1), (away, 0)):
            names = names_in(settings, region)
            processes = (*STARTED, Process.SHIPPER, Process.TRADER)
            services = {names.service(process): names.task_family(process.value) for process in processes}
            services |= {
                names.colour_service(c.value): names.task_family(f"serving-{c.value}") for c in Color
            }
            drill_stack.make_cluster(settings.aws, names, region, services=services, tasks=tasks)
            drill_stack.make_network(settings.aws, names, region)
            drill_stack.make_topic(settings.aws, region, names.alert_topic())
            url = "postgresql://autotrader:not-real@lost.example:5432/autotrader"  # pragma: allowlist secret
            drill_stack.make_secret(settings.aws, region, names.secret("database-url"), url)
        drill_stack.make_database(settings.aws, names_in(settings, home), home)
        drill_stack.make_vault(settings.aws, names_in(settings, home).database, home)
        drill_stack.make_vault(settings.aws, names_in(settings, away).copies_vault, away)
        drill_stack.make_failover_records(
            settings.aws, str(settings.aws.hosted_zone), primary=home, secondary=away
        )
    return settings.model_copy(
        update={
            "deployment": settings.deployment.model_copy(
                update={"ecs_endpoint": "http://127.0.0.1:9", "ready_seconds": 10.0}
            )
        }
    )


def _fill_records(world: World, settings: Settings) -> None:
    """A version that is live, a newer one that failed, and an account whose trader holds its lease."""
    now, engine, equity = world.clock.now(), open_database(world.url), Decimal(100)
    strategy = settings.strategy.strategy_id
    releases = open_objects(
        f"s3://{names_in(settings, str(settings.aws.region)).bucket(Bucket.MODELS)}/releases", settings.aws
    )
    with engine.begin() as connection:
        for number, (version, status) in enumerate(
            ((_LIVE, ModelStatus.PRODUCTION), (_NEWEST, ModelStatus.FAILED)), start=1
        ):
            content = f"model {version}".encode()
            digest = hashlib.sha256(content).hexdigest()
            releases.write(f"{version}/model.onnx", content)
            releases.write(f"{version}/release.json", json.dumps({"onnx_sha256": digest}).encode())
            connection.execute(
                sa.insert(MODEL_VERSIONS).values(
                    name=strategy, training_key=version, major=1, minor=number + 1, patch=0, number=number,
                    status=status.value, reason="drill", run_id="drill", tags={"gates": GATES_PASSED},
                    digests={"model.onnx": digest}, source=None, actor="drill", created_at=now,
                )
            )  # fmt: skip
        connection.execute(
            sa.insert(ROLLOUTS).values(
                id="drill", strategy_id=strategy, version=_LIVE, previous_version=None, candidate=Color.GREEN,
                profile="standard", state=RolloutState.COMPLETED, stage=Stage.FINALIZE, goal=Stage.FINALIZE,
                revision=1, requested_by="drill", reason="drill", created_at=now, stage_since=now,
                ended_at=now, is_faulty=False, number=1,
            )
        )  # fmt: skip
        connection.execute(
            sa.insert(ROUTES).values(
                strategy_id=strategy, instrument="binance:BTCUSDT", color=Color.GREEN, epoch=1,
                changed_at=now, changed_by="drill",
            )
        )  # fmt: skip
        connection.execute(
            sa.insert(LEASES).values(account=ACCOUNT, owner="lost", token=7, expires_at=now, released=False)
        )
        connection.execute(
            sa.insert(SYSTEM_STATE).values(
                account=ACCOUNT, strategy_id=strategy, venue="binance", status=RunStatus.RUNNING,
                heartbeat_at=now, started_at=now, owner="lost", source="live", base_currency="USDT",
                initial_equity=equity, peak_equity=equity, day_start_equity=equity, equity=equity, cash={},
                restrictions=(), consecutive_losses=0, memory={}, revision=1,
            )
        )  # fmt: skip
    engine.dispose()


def replicate(world: World, settings: Settings) -> None:
    """What S3 replication does all the time, from the home region to the other."""
    home, away = str(settings.aws.region), str(settings.aws.dr_region)
    with world.step("buckets replicated", How.STOOD_IN) as tell:
        count, copy = 0, world.folder / "replicated"
        for bucket in (Bucket.DATA, Bucket.MODELS, Bucket.BACKUPS):
            source = open_objects(
                f"s3://{names_in(settings, home).bucket(bucket)}", settings.aws, region=home
            )
            target = open_objects(
                f"s3://{names_in(settings, away).bucket(bucket)}", settings.aws, region=away
            )
            for found in source.list():
                source.fetch(found.key, copy)
                target.put(found.key, copy)
                count += 1
        tell(f"{count} objects")


def _restored_database(world: World, settings: Settings, set_id: str) -> str:
    """In place of what RDS makes of a snapshot: the dump of the same instant, of the replicated set."""
    away = str(settings.aws.dr_region)
    bucket = names_in(settings, away).bucket(Bucket.BACKUPS)
    database = database_of(settings.database_url).sibling("away")
    world.url = database.url
    if database.exists():
        return database.url
    world.made.append(database)
    with world.step("rows of the restored database", How.STOOD_IN, "restored from the replicated set"):
        store = open_objects(f"s3://{bucket}/sets", settings.aws, region=away)
        scratch = world.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        places = Places({MAIN: database.url}, {})
        restoring = Restoring(load(store, set_id), Depot(store), places, settings.aws, scratch, (MAIN,))
        restoring.stage(lambda _: None)
        restoring.swap(world.folder / "swap.json", "replaced", lambda _: None)
    return database.url


def task_count(work: Failover, color: Color) -> SlotHealth:
    """The stand-in runs no tasks: that the service is told to run the version is all that can be seen."""
    name = work.target.names.colour_service(color.value)
    found = work.target.service(name)
    told = found is not None and found.desired > 0
    version = work.target.environment_of(name).get(VERSION) if told else None
    reason = "told to run; the stand-in runs no tasks"
    return SlotHealth(live=False, ready=told, version=version, reason=reason)


def check(world: World, settings: Settings, work: Failover, away: str) -> None:
    """Everything is up in the region gone to, and led to, and nothing in the other."""
    engine = open_database(world.url)
    with world.step("check what came up", How.API) as tell:
        names = names_in(settings, away)
        wrong = [
            name
            for name in (
                *map(names.service, (*STARTED, Process.TRADER)),
                names.colour_service(Color.GREEN.value),
            )
            if (found := work.target.service(name)) is None or found.desired != 1
        ]
        left = work.origin.service(work.origin.names.service(Process.TRADER))
        version = work.target.environment_of(names.colour_service(Color.GREEN.value)).get(VERSION)
        pair = work.target.failover_pairs(str(settings.aws.hosted_zone))[0]
        secret = work.target.read_secret(names.secret("database-url")) or ""
        faults = {
            f"services not told to run: {wrong}": bool(wrong),
            "the trader that was left is not stopped": left is None or left.desired != 0,
            f"expected {_LIVE} in green, was {version}": version != _LIVE,
            "the names lead to the region that is lost": pair.primary["SetIdentifier"] != away,
            "tasks would ask the database that is lost": "lost.example" in secret,
            "the account is not halted, or its lease lives": not _is_fenced(engine),
        }
        said = [fault for fault, is_so in faults.items() if is_so]
        if said:
            raise BadData("; ".join(said))
        tell(f"{_LIVE} and not the newer {_NEWEST}, which failed; names, secrets, services, halted account")
    engine.dispose()


def _is_fenced(engine: Engine) -> bool:
    with engine.connect() as connection:
        halts = connection.scalar(
            sa.select(sa.func.count()).where(CONTROLS.c.account == ACCOUNT, CONTROLS.c.answered_at.is_(None))
        )
        released = connection.scalar(sa.select(LEASES.c.released).where(LEASES.c.account == ACCOUNT))
    return halts == 1 and bool(released)
