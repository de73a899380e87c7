"""When the data run begins and must have ended: its DAG file and the checks of what it brings read it here.

Standard library only: DAG files import it as they are parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta


@dataclass(frozen=True, slots=True)
class DailyRun:
    """A run that begins at the same time of every day.

    Attributes
    ----------
    at : time
        UTC, whole minutes.
    deadline : timedelta
        After which it has ended, well or not.
    """

    at: time
    deadline: timedelta

    @property
    def cron(self) -> str:
        return f"{self.at.minute} {self.at.hour} * * *"

    def last_due(self, now: datetime) -> datetime:
        """When the newest run began that must have ended by `now`, UTC."""
        latest = now.astimezone(UTC) - self.deadline
        began = datetime.combine(latest.date(), self.at, UTC)
        return began if began <= latest else began - timedelta(days=1)


DATA_RUN = DailyRun(time(2), deadline=timedelta(hours=2))  # contract: `data_pipeline`
