"""Work that somebody asked for, and that Airflow runs: what was asked, each try, what was given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from autotrader.ports.events import Event


class JobType(StrEnum):
    """Also the DAG that does it."""

    BACKTEST = "backtest"


class JobState(StrEnum):
    """Of a job, and of each of its tries.

    A job is as its newest try is; but a cancelled one is so at once, and its try once nothing runs any more.
    """

    ASKED = "asked"  # written down; Airflow may not know yet
    QUEUED = "queued"  # Airflow has it
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # of a job: given up into the dead letters
    CANCELLED = "cancelled"


UNFINISHED = (JobState.ASKED, JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for.

    Attributes
    ----------
    params : Mapping[str, Any]
        Of the DAG's run, JSON-serialisable.
    tries : int
        Number of the newest try, from 1 on.
    round_start : int
        The try that the newest round began with: asking, or requeueing, begins one.
    reason : str
        Why the newest try that failed did, or who cancelled the job; empty where none has, or it succeeded.
    result : Mapping[str, Any] or None
        Of the try that succeeded.
    """

    id: str
    type: JobType
    params: Mapping[str, Any]
    asked_by: str
    asked_at: datetime
    state: JobState = JobState.ASKED
    tries: int = 1
    round_start: int = 1
    reason: str = ""
    result: Mapping[str, Any] | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """One run in Airflow.

    Attributes
    ----------
    run_id : str
        Of Airflow, made of job and number: asked for twice, there is one.
    is_retry : bool
        Whether one before it failed within its round.
    run_after : datetime or None
        Airflow holds it back until then.
    seconds : float or None
        From its beginning to its end; None where it has no both, or was cancelled.
    """

    run_id: str
    job_id: str
    number: int
    is_retry: bool
    state: JobState
    asked_at: datetime
    run_after: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that was given up: its tries are spent, or another one would fail, too."""

    job_id: str
    type: JobType
    number: int
    at: datetime
    reason: str
    requeued_at: datetime | None = None
    requeued_by: str | None = None


# Seconds. A backtest takes seconds or minutes; it takes too long after an hour. What is forgotten stays
# counted within these: others begin to count with the change.
DURATION_BOUNDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0)


@dataclass(frozen=True, slots=True)
class Durations:
    """Tries that ended by themselves.

    Attributes
    ----------
    within : Mapping[float, int]
        How many took at most so many seconds, by each of `DURATION_BOUNDS`.
    count : int
    seconds : float
        Sum.
    """

    within: Mapping[float, int]
    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class JobTotals:
    """Counted since ever, and how things are; by type, with what is zero."""

    asked: Mapping[JobType, int]
    retries: Mapping[JobType, int]
    ended: Mapping[tuple[JobType, JobState], int]
    failed_tries: Mapping[JobType, int]
    given_up: Mapping[JobType, int]
    dead: Mapping[JobType, int]
    waiting: Mapping[JobType, int]
    durations: Mapping[JobType, Durations]
    oldest_start: Mapping[JobType, datetime] = field(default_factory=dict)


def run_id_of(job_id: str, number: int) -> str:
    """What a try is called in Airflow."""
    return f"job-{job_id}-{number}"


@runtime_checkable
class Jobs(Protocol):
    """Every change is one transaction; what is over is not changed again but by `requeue` and `forget`."""

    def ask(self, job: Job, event: Event) -> Job:
        """Write down the job and its first try; what is there already under its id stays as it is."""
        ...

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    def list(
        self,
        *,
        type: JobType | None = None,
        states: Sequence[JobState] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[Job]:
        """Asked for within [start, end), newest first."""
        ...

    def tries(self, job_id: str) -> Sequence[Try]:
        """In order."""
        ...

    def unfinished(self, *, states: Sequence[JobState], limit: int = 100) -> Sequence[tuple[Job, Try]]:
        """Jobs whose newest try is in one of these states, with it; the oldest first."""
        ...

    def to_stop(self, *, limit: int = 100) -> Sequence[tuple[Job, Try]]:
        """Cancelled jobs whose newest try may go on in Airflow, with it; the oldest first."""
        ...

    def queued(self, run_id: str) -> None:
        """Airflow has the try."""
        ...

    def begin(self, run_id: str, now: datetime) -> Job | None:
        """The try runs; None where the run is of no job.

        Raises
        ------
        Refused
            If the try is over, or its job was cancelled.
        """
        ...

    def succeed(self, run_id: str, result: Mapping[str, Any], now: datetime) -> bool:
        """False if the try was over before, or its job was cancelled."""
        ...

    def fail(self, run_id: str, reason: str, now: datetime, *, can_retry: bool) -> bool:
        """End the try: another one is asked for, or the job becomes a dead letter.

        False if it was over, or its job was cancelled.
        """
        ...

    def cancel(self, job_id: str, *, actor: str, now: datetime, event: Event) -> Job:
        """No further try, and no result of this one; a job that was cancelled before stays as it is.

        Raises
        ------
        NotFound
        Refused
            If it is over.
        """
        ...

    def stopped(self, run_id: str, now: datetime) -> None:
        """Nothing of a cancelled job's try runs in Airflow any more."""
        ...

    def dead_letters(self, *, limit: int = 100) -> Sequence[DeadLetter]:
        """Those that nobody has requeued, newest first."""
        ...

    def requeue(self, job_id: str, *, actor: str, now: datetime, event: Event) -> Job:
        """Begin a new round of tries.

        Raises
        ------
        NotFound
        Refused
            If it was not given up.
        """
        ...

    def totals(self) -> JobTotals:
        """What was counted since ever, of forgotten jobs, too."""
        ...

    def forget(self, before: datetime) -> int:
        """Delete jobs that ended before, with their tries and dead letters; how many jobs."""
        ...
