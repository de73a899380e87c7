"""Alerts of tasks that failed, which are over once their DAG succeeds again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from autotrader.alerts.delivery import every_live
from autotrader.alerts.lost_ends import end_of
from autotrader.ports.alerts import Alerts, AlertState
from autotrader.ports.clock import WallClock
from autotrader.ports.events import EventLog

_TASK = "task"
_LIVE = (AlertState.OPEN, AlertState.ACKNOWLEDGED, AlertState.SUPPRESSED)

log = structlog.get_logger(__name__)


def task_fingerprint(dag_id: str, task_id: str) -> str:
    """The same for each instance of a mapped task, and in each run."""
    return f"{_TASK}/{dag_id}/{task_id}"


class TaskEnds:
    """Ends what is over, by an entry of the business log; asks only while such an alert is live.

    It asks in place of being told by a run that succeeds: Airflow would start a process for that, on Amazon
    a container, after each run of each DAG; and an end would be lost where that fails.

    Parameters
    ----------
    alerts : Alerts
    events : EventLog
    succeeded : callable
        When the newest run of a DAG that succeeded began; None where none did.
    clock : WallClock
    """

    def __init__(
        self,
        alerts: Alerts,
        events: EventLog,
        succeeded: Callable[[str], datetime | None],
        clock: WallClock,
    ) -> None:
        self._alerts = alerts
        self._events = events
        self._succeeded = succeeded
        self._clock = clock

    def look(self) -> int:
        """End what is over; returns how many. Raises as `succeeded` does."""
        live = every_live(self._alerts, states=_LIVE)
        failed = [alert for alert in live if alert.fingerprint.startswith(f"{_TASK}/")]
        dags = {alert.id: alert.fingerprint.split("/")[1] for alert in failed}
        succeeded = {dag_id: self._succeeded(dag_id) for dag_id in sorted(set(dags.values()))}
        ended = 0
        for alert in failed:
            dag_id = dags[alert.id]
            began = succeeded[dag_id]
            # A run in which it failed may succeed all the same: only a later one says that it is over.
            if began is not None and began > alert.last_at:
                why = f"{dag_id} succeeded again"
                ended += self._events.record(end_of(alert, why, "succeeded", self._clock.now()))
        if ended:
            log.info("alerts of tasks are over", ended=ended)
        return ended
