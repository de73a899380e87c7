"""Jobs, as the database tells of them."""

from __future__ import annotations

from autotrader.apps.exporter.reading import Reading
from autotrader.ports.clock import WallClock
from autotrader.ports.jobs import Jobs

QUEUE = "jobs"


class JobCounts:
    """Reads what the tables of jobs amount to; with zeros, so that the first one is a rise."""

    def __init__(self, jobs: Jobs, clock: WallClock) -> None:
        self._jobs = jobs
        self._clock = clock

    def read(self, reading: Reading) -> None:
        """Add how many were asked for, ended, were tried again and given up, and how long they take.

        Raises
        ------
        Unreachable
            If the database does not answer.
        """
        totals = self._jobs.totals()
        for name, counts in (
            ("job_submissions_total", totals.asked),
            ("job_retries_total", totals.retries),
            ("job_dlq_moves_total", totals.given_up),
            ("job_dlq_length", totals.dead),
            ("worker_errors_total", totals.failed_tries),
        ):
            for kind, count in counts.items():
                reading.add(name, count, type=kind.value)
        for (kind, state), count in totals.ended.items():
            reading.add("worker_jobs_processed_total", count, type=kind.value, status=state.value)
        for kind, took in totals.durations.items():
            buckets = sorted(took.within.items())
            reading.add_histogram(
                "worker_job_duration_seconds", buckets, took.count, took.seconds, type=kind.value
            )
        now = self._clock.now()
        for kind in totals.asked:
            begun = totals.oldest_start.get(kind)
            seconds = max((now - begun).total_seconds(), 0.0) if begun else 0.0
            reading.add("job_oldest_running_seconds", seconds, type=kind.value)
        reading.add("queue_length", sum(totals.waiting.values()), queue=QUEUE)
