"""Deliver alerts, once or until SIGTERM."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta

import structlog

from autotrader import command
from autotrader.adapters.airflow_client import airflow_of
from autotrader.alerts.channels.alertmanager import REPEAT, AlertmanagerChannel
from autotrader.alerts.delivery import deliver_one, keep_alive, prepare
from autotrader.alerts.digest import post_digests
from autotrader.alerts.lost_ends import LostEnds
from autotrader.alerts.postbox import Postbox
from autotrader.alerts.set_up import witnesses_of
from autotrader.alerts.task_ends import TaskEnds
from autotrader.config.settings import Settings
from autotrader.domain.errors import AutotraderError, ExitCode, NotFound
from autotrader.ports.alerts import Alerts, Channel, ChannelName, Channels
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.events import EventLog
from autotrader.ports.trading import TradingRecords

DELIVERY = "alert_delivery"  # as it is heard of
BEAT_EVERY = timedelta(seconds=10)
FORGET_EVERY = timedelta(hours=1)
DIGEST_SECONDS = 30.0  # between looks at whether an interval is over
AIRFLOW_SECONDS = 10.0  # patience with one of its answers
LEAVING_SECONDS = 25.0  # above a channel's patience with one message; what is not sent by then waits

log = structlog.get_logger(__name__)


def deliver(
    *,
    settings: Settings,
    alerts: Alerts,
    events: EventLog,
    deployment: DeploymentRecords,
    channels: Channels,
    records: TradingRecords,
    postbox: Postbox,
    clock: WallClock,
    market_clock: MarketClock,
    once: bool = False,
) -> command.Result:
    """Tell people of alerts: take up what happened, and send messages until SIGTERM.

    It may be killed at any time, and any number may run: nothing is lost. PagerDuty, Opsgenie and
    Alertmanager are told once, mail once unless its server dies at the wrong moment, Slack and a webhook
    at least once. A channel that is slow or away holds up no other. Executions are mailed together, once
    in `mail.digest_minutes`, where news goes by mail. What Alertmanager told people of is ended once neither
    it nor Prometheus has known it for long; a task's failure, once Airflow says that a later run of its DAG
    succeeded.

    Parameters
    ----------
    once : bool
        Send what is due now instead of going on; exits 1 while a message waits or was given up.
    """
    with ExitStack() as stack:
        opened = list(channels())
        for channel in opened:
            stack.callback(channel.close)
        digest = _digest(settings, records, postbox, market_clock)
        if once:
            digest()
            return _once(alerts, opened, clock)
        witnesses = witnesses_of(settings)
        stack.callback(witnesses.close)
        ends = LostEnds(alerts, events, witnesses, clock)
        tasks = TaskEnds(alerts, events, successes_of(settings), clock)
        _until_told(settings, alerts, deployment, opened, clock, digest, ends, tasks)
    return command.Result({"stopped": True}, "stopped")


def _digest(
    settings: Settings, records: TradingRecords, postbox: Postbox, clock: MarketClock
) -> Callable[[], object]:
    interval = timedelta(minutes=settings.mail.digest_minutes)
    if not interval or ChannelName.EMAIL not in settings.alerts.info:
        return lambda: None
    return lambda: post_digests(records, postbox, interval=interval, now=clock.now())


def successes_of(settings: Settings) -> Callable[[str], datetime | None]:
    """When the newest run of a DAG that succeeded began."""

    def began(dag_id: str) -> datetime | None:
        with airflow_of(settings, timeout_seconds=AIRFLOW_SECONDS) as airflow:
            try:
                found = airflow.runs(dag_id, states=("success",), order_by="-end_date", limit=1).runs
            except NotFound:
                return None  # there is no such DAG any more: a person ends what it left
        return found[0].start if found else None

    return began


def _once(alerts: Alerts, channels: list[Channel], clock: WallClock) -> command.Result:
    made = prepare(alerts, clock)
    for channel in channels:
        while deliver_one(alerts, channel, clock):
            pass
    totals = alerts.totals()
    data = {"made": made, "waiting": totals.waiting, "dead": totals.dead}
    text = f"{made} messages made; {totals.waiting} wait, {totals.dead} were given up"
    return command.Result(data, text, ExitCode.FAILED if totals.waiting or totals.dead else ExitCode.DONE)


def _until_told(
    settings: Settings,
    alerts: Alerts,
    deployment: DeploymentRecords,
    channels: list[Channel],
    clock: WallClock,
    digest: Callable[[], object],
    ends: LostEnds,
    tasks: TaskEnds,
) -> None:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    seconds = settings.alerts.poll_seconds
    forgotten_at = -FORGET_EVERY.total_seconds()
    beaten_at = -BEAT_EVERY.total_seconds()

    def make() -> None:
        nonlocal forgotten_at, beaten_at
        made = prepare(alerts, clock)
        if made:
            log.info("messages are on their way", made=made)
        if clock.monotonic() >= forgotten_at + FORGET_EVERY.total_seconds():
            alerts.forget(clock.now() - timedelta(days=settings.alerts.keep_days))
            forgotten_at = clock.monotonic()
        # After all that it is for: whoever cannot do it is not heard of.
        if clock.monotonic() >= beaten_at + BEAT_EVERY.total_seconds():
            deployment.beat(DELIVERY, clock.now())
            beaten_at = clock.monotonic()

    works: dict[str, tuple[Callable[[], object], float]] = {
        "outbox": (make, seconds),
        "executions": (digest, DIGEST_SECONDS),
        "lost ends": (ends.look, REPEAT.total_seconds()),
        "ends of tasks": (tasks.look, REPEAT.total_seconds()),
    }
    for channel in channels:
        works[channel.name.value] = (_sender(alerts, channel, clock, told), seconds)
        if isinstance(channel, AlertmanagerChannel):
            works["repetition"] = (
                _keeper(alerts, channel, settings.monitoring.runbook_url, clock),
                REPEAT.total_seconds(),
            )
    threads = [
        threading.Thread(target=_keep_doing, args=(name, *work, told), name=name, daemon=True)
        for name, work in works.items()
    ]
    for thread in threads:
        thread.start()
    sys.stdout.write(json.dumps({"channels": [channel.name.value for channel in channels]}) + "\n")
    sys.stdout.flush()
    told.wait()
    log.info("ending")
    until = clock.monotonic() + LEAVING_SECONDS
    for thread in threads:
        thread.join(max(until - clock.monotonic(), 0.0))


def _sender(alerts: Alerts, channel: Channel, clock: WallClock, told: threading.Event) -> Callable[[], None]:
    def send() -> None:
        while not told.is_set() and deliver_one(alerts, channel, clock):
            pass

    return send


def _keeper(
    alerts: Alerts, channel: AlertmanagerChannel, runbooks: str, clock: WallClock
) -> Callable[[], object]:
    return lambda: keep_alive(alerts, channel, runbooks, clock)


def _keep_doing(name: str, work: Callable[[], object], seconds: float, told: threading.Event) -> None:
    """Again and again; an outage is logged once, and ends no thread."""
    failing = False
    while not told.is_set():
        try:
            work()
            failing = False
        except AutotraderError as error:
            if not failing:
                log.error("alerts stand still", work=name, reason=str(error))
            failing = True
        except Exception as error:
            # Whatever it is, the other messages must go; the log has it whole, once.
            if not failing:
                log.error("a fault of ours holds up alerts", work=name, exc_info=error)
            failing = True
        told.wait(seconds)


if __name__ == "__main__":
    raise SystemExit(command.run(deliver))
