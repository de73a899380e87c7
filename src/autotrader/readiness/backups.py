"""Stage 9: whether there is something to come back from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from autotrader.config.settings import Settings
from autotrader.continuity.list_backups import list_backups
from autotrader.domain.thresholds import ALERTS
from autotrader.ports.clock import WallClock
from autotrader.readiness.findings import Finding, failed, ok, warning

_MAKE = "make backup; systemctl status autotrader-backup.timer"


def look(*, settings: Settings, clock: WallClock) -> Iterator[Finding]:
    """How old the newest complete set is, and whether the sets are whole."""
    listed = list_backups(settings=settings).data
    assert isinstance(listed, dict)  # noqa: S101 - what it returns
    sets, place = listed["sets"], listed["place"]
    damaged = [row["set"] for row in sets if row["state"] == "DAMAGED"]
    complete = [row for row in sets if row["state"] == "complete"]
    if not complete:
        yield failed("newest set", f"0 complete sets in {place}", _MAKE)
    else:
        newest = max(complete, key=lambda row: row["as_of"])
        age = clock.now() - newest["as_of"]
        hours, limit = age / timedelta(hours=1), ALERTS.backup_age
        size = newest["bytes"] / 2**20
        if age > limit:
            reason = f"{hours:.1f} h old, expected at most {limit / timedelta(hours=1):g} h ({newest['set']})"
            yield failed("newest set", reason, _MAKE)
        else:
            yield ok("newest set", f"{hours:.1f} h old, {size:.1f} MiB ({newest['set']})")
    if damaged:
        reason = f"{len(damaged)} of {len(sets)} are damaged: {', '.join(damaged)}"
        yield failed("sets", reason, "autotrader backups verify; keep no set that is damaged")
    elif len(complete) == 1:
        yield warning("sets", "1 complete set: a fault in it leaves nothing", "make backup, daily")
    elif complete:
        yield ok("sets", f"{len(complete)} complete, 0 damaged, in {place}")
