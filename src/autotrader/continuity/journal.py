"""What a failover has done so far, in the region that it goes to; of two operators one is refused.

Entries are numbered, and each number is given to one writer: whoever finds the next one taken knows
that somebody else is at work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

from autotrader.domain.errors import Refused
from autotrader.ports.clock import WallClock
from autotrader.ports.objects import ObjectStore

# Longer than any step is silent for; the wait for the database writes an entry a minute.
SILENCE = timedelta(minutes=5)
BEGUN, DONE, FAILED, PAUSED, ENDED = "begun", "done", "failed", "paused", "ended"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    Attributes
    ----------
    run : str
        Of one run of the command.
    what : str
        `begun`, `done`, `failed`, `paused` (something is pending) or `ended`.
    """

    number: int
    run: str
    by: str
    at: str
    what: str
    step: str
    data: Mapping[str, object] = field(default_factory=dict)


class Journal:
    """The journal of failovers to one region.

    Parameters
    ----------
    store : ObjectStore
    region : str
    clock : WallClock
    by : str
        Who acts.
    """

    def __init__(self, store: ObjectStore, region: str, clock: WallClock, *, by: str) -> None:
        self._store = store
        self._prefix = f"failovers/{region}/"
        self._clock = clock
        self._by = by
        self._run = uuid4().hex[:12]
        self._next = 0

    def begin(self, *, take_over: bool, data: Mapping[str, object]) -> list[Entry]:
        """Take the journal up; returns what the failover under way has done, empty for a new one.

        Raises
        ------
        Refused
            If somebody else is at work, unless it is taken over from them.
        """
        entries = self.entries()
        self._next = len(entries)
        last = entries[-1] if entries else None
        if last and last.what not in (FAILED, PAUSED, ENDED) and not take_over:
            silent = self._clock.now() - datetime.fromisoformat(last.at)
            if silent < SILENCE:
                raise Refused(
                    f"expected nobody to fail over, was {last.by}, {silent.total_seconds():.0f} s ago at "
                    f"`{last.step}`: wait, or --take-over if that process is dead"
                )
        ends = [entry.number for entry in entries if entry.what == ENDED]
        done = entries[ends[-1] + 1 :] if ends else entries
        self.write(BEGUN, "failover", data)
        return done

    def write(self, what: str, step: str, data: Mapping[str, object] | None = None) -> None:
        """Append; Refused if somebody else has meanwhile."""
        entry = Entry(self._next, self._run, self._by, self._clock.now().isoformat(), what, step, data or {})
        key = f"{self._prefix}{entry.number:06d}.json"
        if not self._store.write_new(key, json.dumps(asdict(entry), default=str).encode()):
            other = Entry(**json.loads(self._store.read(key)))
            raise Refused(
                f"expected to be the only one at work, was {other.by}, too, at `{other.step}`: stop one"
            )
        self._next += 1

    def entries(self) -> list[Entry]:
        """All of them, oldest first."""
        keys = sorted(found.key for found in self._store.list(self._prefix))
        return [Entry(**json.loads(self._store.read(key))) for key in keys]
