"""What went wrong of late, one line an error: `python -m autotrader.diagnosis.errors`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.diagnosis.entries import Entry, Level
from autotrader.diagnosis.logs import gather
from autotrader.diagnosis.masking import Mask
from autotrader.diagnosis.moments import since_when
from autotrader.diagnosis.sources import START, log_files
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.clock import WallClock

SAMPLE_LINES = 4


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Entries of one error.

    Attributes
    ----------
    services : tuple of str
        That said it.
    first, last : datetime or None
        UTC.
    sample : str
        The newest, with the end of its traceback; masked.
    """

    fingerprint: str
    count: int
    services: tuple[str, ...]
    level: str
    first: datetime | None
    last: datetime | None
    sample: str


def errors(*, since: str = "24h", limit: int = 50, settings: Settings, clock: WallClock) -> command.Result:
    """Errors in the logs of all processes and tasks, by fingerprint, the most frequent first.

    Parameters
    ----------
    since : str
        How far back: 30s, 15m, 2h, 7d, or an instant of UTC.
    limit : int
        At most so many errors.
    """
    if limit < 1:
        raise ConfigurationError(f"expected a limit of 1 or more, was {limit}")
    files = log_files(settings)
    begin = since_when(since, clock.now())
    if not files:
        return command.Result({"since": begin, "errors": []}, START)
    groups = grouped(gather(files, begin, Level.ERROR), Mask(settings))
    shown = groups[:limit]
    data = {"since": begin, "errors": shown, "left_out": len(groups) - len(shown)}
    return command.Result(data, render(shown, begin, len(groups)))


def grouped(entries: Iterable[Entry], mask: Mask) -> list[ErrorGroup]:
    """By fingerprint; entries are in order of time."""
    found: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.fingerprint].append(entry)
    groups = [_group(fingerprint, of_one, mask) for fingerprint, of_one in found.items()]
    return sorted(groups, key=lambda group: group.count, reverse=True)


def render(groups: Sequence[ErrorGroup], begin: datetime, total: int) -> str:
    """For a terminal."""
    if not groups:
        return f"no error since {begin:%F %T} UTC"
    lines = [f"{total} kinds of error since {begin:%F %T} UTC"]
    for group in groups:
        times = f"{_shown(group.first)} to {_shown(group.last)}" if group.count > 1 else _shown(group.last)
        lines.append(f"\n{group.count:>6} x {group.fingerprint}  {', '.join(group.services)}  {times}")
        lines += [f"         {line}" for line in group.sample.splitlines()]
    return "\n".join(lines)


def _group(fingerprint: str, entries: Sequence[Entry], mask: Mask) -> ErrorGroup:
    newest = entries[-1]
    times = [entry.at for entry in entries if entry.at]
    # Masked as a whole: a secret may go over lines.
    whole = mask.text(f"{newest.message}\n{newest.more}").splitlines()
    sample = [line[:500] for line in (whole[:1] + whole[1:][-SAMPLE_LINES:])]
    return ErrorGroup(
        fingerprint,
        len(entries),
        tuple(sorted({entry.service for entry in entries})),
        newest.level.name,
        min(times, default=None),
        max(times, default=None),
        "\n".join(sample),
    )


def _shown(at: datetime | None) -> str:
    return f"{at:%F %T}" if at else "at an unknown time"


if __name__ == "__main__":
    raise SystemExit(command.run(errors))
