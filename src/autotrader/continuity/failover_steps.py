"""The steps of a region failover, in their order; each reads what is, and may be run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.engine import Engine

from autotrader.adapters.aws_database import RegionDatabase
from autotrader.adapters.aws_region import Region
from autotrader.adapters.ecs_services import DIGEST, URI, VERSION, ColourServices
from autotrader.config.aws_names import Bucket, Process
from autotrader.config.settings import Settings
from autotrader.continuity import failover_processes as processes
from autotrader.continuity.failover_database import endpoint_of, is_available, tell_tasks
from autotrader.continuity.failover_source import bring_back, choose
from autotrader.continuity.fencing import fence_accounts
from autotrader.continuity.serving_version import Serving, serving_version, slots_of
from autotrader.continuity.waiting import wait_for
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.deployment import requests, transitions
from autotrader.deployment.switching import scope_of
from autotrader.domain.errors import DependencyError, NotFound, Refused, Rejected, Unreachable
from autotrader.domain.rollout import DIRECT, Color, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import SlotHealth, SlotState
from autotrader.ports.events import Event, EventType
from autotrader.ports.objects import ObjectStore

BUCKETS = (Bucket.DATA, Bucket.MODELS, Bucket.BACKUPS)
DATABASE = "database"
_DATABASE_SECONDS = 7200.0
_POLL_SECONDS = 15.0

Done = Mapping[str, object]


@dataclass
class Failover:
    """All that the steps work with.

    Parameters
    ----------
    settings : Settings
    origin, target : Region
        That is left, and that takes over.
    database : RegionDatabase
        Of the target.
    releases, backups : ObjectStore
        Of the target: what is served, and the backup sets that were replicated there.
    colours : ColourServices
        Of the target.
    clock : WallClock
    actor, reason : str
    rpo : timedelta
        Data that may be lost at most.
    lost_at : datetime
        Since when the origin is lost.
    accept_data_loss : bool
        Whether a snapshot that is older than that is taken, too.
    trader_is_stopped : bool
        Whether a person vouches that the origin's trader can send no orders.
    urls : Callable
        From the endpoint of the target's database to the URL by which it is asked from here.
    health : Callable
        What a colour of the target says of itself.
    endpoint : Callable
        Where the colours of the target answer.
    beat : Callable
        Told while a step waits.
    occasion : str
        Of this failover, however often the command is run for it.
    poll_seconds : float
        Between two looks at what is waited for, at most.
    snapshot, backup_set : str or None
        Those that were chosen, where an earlier run of this failover did.
    set_is_back : bool
        Whether the rows of that set have taken their place.
    """

    settings: Settings
    origin: Region
    target: Region
    database: RegionDatabase
    releases: ObjectStore
    backups: ObjectStore
    colours: ColourServices
    clock: WallClock
    actor: str
    reason: str
    rpo: timedelta
    lost_at: datetime
    accept_data_loss: bool
    trader_is_stopped: bool
    urls: Callable[[str], str]
    health: Callable[[Color], SlotHealth]
    endpoint: Callable[[], str]
    beat: Callable[[str], None]
    occasion: str
    poll_seconds: float = _POLL_SECONDS
    snapshot: str | None = None
    backup_set: str | None = None
    set_is_back: bool = False
    pending: list[str] = field(default_factory=list)
    _engine: Engine | None = None
    _origin_stopped: bool = False

    def steps(self) -> Iterator[tuple[str, Callable[[], Done]]]:
        """Name and action, in order."""
        yield "check", self.check
        yield "stop origin", self.stop_origin
        yield DATABASE, self.restore_database
        yield "tell tasks", self.tell_tasks
        yield "fence", self.fence
        yield "serving", self.start_serving
        yield "services", self.start_services
        yield "traffic", self.turn_traffic
        yield "trader", self.start_trader
        yield "verify", self.verify

    def check(self) -> Done:
        """Whether the target has what it takes; changes nothing.

        Raises
        ------
        NotFound
            Naming all that is missing.
        Refused
            If the newest snapshot, and the newest backup set, is too old.
        """
        self.target.require_cluster()
        names = self.target.names
        missing = [
            f"bucket {names.bucket(b)}" for b in BUCKETS if not self.target.has_bucket(names.bucket(b))
        ]
        missing += processes.missing(self.target)
        if missing:
            where = self.target.name
            raise NotFound(f"expected in {where}: {', '.join(missing)}; was none: terraform apply makes them")
        return self._choose_source()

    def stop_origin(self) -> Done:
        """Nothing of the origin may write or trade; where it does not answer us, that is not known."""
        self._origin_stopped = False
        try:
            stopped = processes.stop_all(self.origin)
            left = self._trader_left()
        except (Unreachable, Rejected) as error:
            return {"stopped": False, "reason": str(error)}
        self._origin_stopped = left == 0
        return {"stopped": self._origin_stopped, "scaled_to_0": stopped, "trader_tasks": left}

    def restore_database(self) -> Done:
        """Make the database of the snapshot, and wait for it; a set's rows follow where one was chosen."""
        found = self.database.instance()
        aside = None
        if found is not None and self.snapshot is not None and found.origin != self.snapshot:
            aside = f"{self.target.names.database}-before-{self.occasion}"
            self.database.move_aside(aside)
            self._wait("the old database to give its name free", lambda: self.database.instance() is None)
            found = None
        if found is None:
            self.database.restore(str(self.snapshot))
        self._wait("the database", lambda: is_available(self.database))
        done: dict[str, object] = {
            "snapshot": self.snapshot,
            "endpoint": self._endpoint(),
            "moved_aside": aside,
        }
        return done if self.backup_set is None else {**done, **self._bring_set_back(self.backup_set)}

    def tell_tasks(self) -> Done:
        """The secrets that the tasks start with name the database that is now the right one."""
        endpoint = self._endpoint()
        return {"endpoint": endpoint, "secrets": tell_tasks(self.target, endpoint)}

    def fence(self) -> Done:
        """Every lease ends, every account is halted, and a rollout under way is taken back."""
        engine = self._open()
        accounts = fence_accounts(
            engine,
            self.clock,
            occasion=self.occasion,
            actor=self.actor,
            reason=f"region failover: {self.reason}",
        )
        taken = requests.take_back(
            self._records(), f"region failover: {self.reason}", actor=self.actor, now=self.clock.now
        )
        return {"halted": accounts, "taken_back": taken.version if taken else None}

    def start_serving(self) -> Done:
        """The last version that was live and may serve; where it is not what is recorded, it is made live."""
        serving = serving_version(self._open(), self.releases, self.settings.strategy.strategy_id)
        if serving is None:
            return {"version": None}
        if serving.passed_over:
            self._clear_taken_back()
        self.colours.run(
            serving.color,
            {URI: serving.uri, VERSION: serving.version, DIGEST: serving.onnx_sha256},
        )
        self._set_slots(serving, SlotState.STARTING)
        seconds = self.settings.deployment.ready_seconds
        health = self._wait(
            f"{serving.version}",
            lambda: self._said(serving.color, serving.version),
            seconds=seconds,
            poll_seconds=2,
        )
        self._set_slots(serving, SlotState.READY)
        self.colours.stop(serving.color.other)
        if serving.passed_over:
            self._make_live(serving)
        return {
            "version": serving.version,
            "color": serving.color.value,
            "passed_over": serving.passed_over,
            "said": health,
        }

    def start_services(self) -> Done:
        names = [self.target.names.service(process) for process in processes.STARTED]
        for name in names:
            processes.start(self.target, name)
        return {"started": names}

    def turn_traffic(self) -> Done:
        """The names of the hosted zone lead here first."""
        zone = self.settings.aws.hosted_zone
        if zone is None:
            return {"records": [], "reason": "no AUTOTRADER_AWS__HOSTED_ZONE is set"}
        turned = []
        for pair in self.target.failover_pairs(zone):
            if pair.primary["SetIdentifier"] != self.target.name:
                self.target.turn_round(pair)
                turned.append(pair.primary["Name"])
        return {"records": turned}

    def start_trader(self) -> Done:
        """Last, and only where no other can trade the accounts; it starts halted, and reconciles."""
        name = self.target.names.service(Process.TRADER)
        if not (self._origin_stopped or self.trader_is_stopped):
            self.pending.append(
                f"{name} is not started: nobody knows whether the one in {self.origin.name} still trades."
                " Revoke its keys at the venue, then run again with --trader-is-stopped"
            )
            return {"started": False}
        processes.start(self.target, name)
        return {"started": True, "vouched_for": self.trader_is_stopped and not self._origin_stopped}

    def verify(self) -> Done:
        """Everything is as it was meant to be; tells the log and the topic of alerts."""
        if down := processes.down(self.target):
            raise DependencyError(f"expected tasks of {', '.join(down)} in {self.target.name}, was none")
        live = self._records().live()
        if live is not None:
            self._wait(
                f"{live.version} on {live.candidate}, as is recorded",
                lambda: self._said(live.candidate, live.version),
                seconds=self.settings.deployment.ready_seconds,
                poll_seconds=2,
            )
        message = f"{self.settings.environment.value} runs in {self.target.name} now: {self.reason}"
        SqlEventLog(self._open()).record(
            Event(
                key=f"{self.occasion}-{len(self.pending)}",
                type=EventType.RECOVERY,
                severity="critical",
                message=message,
                actor=self.actor,
                at=self.clock.now(),
                data={"from": self.origin.name, "to": self.target.name, "pending": self.pending},
            )
        )
        rung = self.target.ring(f"autotrader: region failover to {self.target.name}", message)
        return {"live": live.version if live else None, "alert_topic_told": rung}

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def _choose_source(self) -> Done:
        if self.snapshot is not None or self.backup_set is not None:
            return {"snapshot": self.snapshot, "set": self.backup_set}
        chosen = choose(
            self.database,
            self.backups,
            lost_at=self.lost_at,
            rpo=self.rpo,
            accept_data_loss=self.accept_data_loss,
        )
        self.snapshot, self.backup_set = chosen.snapshot, chosen.backup_set
        done = {"snapshot": chosen.snapshot, "lost_seconds": round(chosen.lost.total_seconds(), 1)}
        return (
            done if chosen.backup_set is None else {**done, "set": chosen.backup_set, "reason": chosen.reason}
        )

    def _bring_set_back(self, set_id: str) -> Done:
        if self.set_is_back:
            return {"set": set_id}
        url = self.urls(self._endpoint())
        moved, left = bring_back(
            set_id, self.backups, url, self.settings.aws, now=self.clock.now(), tell=self.beat
        )
        self.set_is_back = True
        return {"set": set_id, "rows_moved_aside": moved, "not_of_the_set": left}

    def _trader_left(self) -> int:
        name = self.origin.names.service(Process.TRADER)
        try:
            self._wait(
                "the origin's trader to end",
                lambda: (found := self.origin.service(name)) is None or found.running == 0,
                seconds=180,
                poll_seconds=2,
            )
        except Unreachable:
            found = self.origin.service(name)
            return found.running if found else 0
        return 0

    def _endpoint(self) -> str:
        return endpoint_of(self.database, self.target)

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = open_database(self.urls(self._endpoint()))
        return self._engine

    def _records(self) -> SqlDeploymentRecords:
        return SqlDeploymentRecords(self._open(), self.settings.strategy.strategy_id)

    def _set_slots(self, serving: Serving, state: SlotState) -> None:
        reason = f"region failover to {self.target.name}"
        slots = slots_of(
            serving, state, endpoint=self.endpoint(), reason=reason, now=self.clock.now(), actor=self.actor
        )
        for slot in slots:
            self._records().set_slot(slot)

    def _clear_taken_back(self) -> None:
        """A rollout under way was taken back, and no controller is up to say that it is over."""
        records = self._records()
        over = records.active()
        if over is not None:
            cleared = transitions.rolled_back(over, records.slots(), actor=self.actor, at=self.clock.now())
            cleared.apply(records, over)

    def _make_live(self, serving: Serving) -> None:
        """Record what serves, as a rollout that went straight to it, with why the others were passed over.

        Raises
        ------
        Refused
            If somebody else changed the deployment meanwhile.
        """
        records, now = self._records(), self.clock.now()
        begun = requests.begin(
            records,
            strategy_id=self.settings.strategy.strategy_id,
            version=serving.version,
            profile=DIRECT,
            goal=Stage.FINALIZE,
            reason=f"region failover to {self.target.name}, passed over {'; '.join(serving.passed_over)}",
            actor=self.actor,
            now=now,
            first=Stage.FINALIZE,
        )
        completed = transitions.complete(
            begun,
            records.routes(),
            records.slots(),
            scope_of(self.settings),
            warm=timedelta(hours=self.settings.deployment.warm_hours),
            actor=self.actor,
            at=now,
        )
        if completed.apply(records, begun) is None:
            raise Refused(
                f"expected to record {serving.version} as live, was changed meanwhile: run it again"
            )

    def _said(self, color: Color, version: str) -> str | None:
        """What the colour says of itself, once it serves this version."""
        said = self.health(color)
        return said.reason if said.ready and said.version == version else None

    def _wait(
        self,
        what: str,
        ready: Callable[[], object],
        *,
        seconds: float = _DATABASE_SECONDS,
        poll_seconds: float = _POLL_SECONDS,
    ) -> object:
        return wait_for(
            what,
            ready,
            clock=self.clock,
            beat=self.beat,
            seconds=seconds,
            poll_seconds=min(poll_seconds, self.poll_seconds),
        )
