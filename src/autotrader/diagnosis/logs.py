"""What the processes of the local stack say: `python -m autotrader.diagnosis.logs`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.diagnosis.entries import Entry, Level, parse, read_entries
from autotrader.diagnosis.masking import Mask
from autotrader.diagnosis.moments import since_when
from autotrader.diagnosis.sources import START, log_files
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.clock import WallClock

POLL_SECONDS = 0.5
FIND_SECONDS = 3.0  # between looks for new files: a task has its own
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class LevelName(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


def logs(
    *,
    service: str | None = None,
    since: str | None = None,
    level: LevelName = LevelName.INFO,
    lines: int = 200,
    follow: bool = False,
    settings: Settings,
    clock: WallClock,
) -> command.Result:
    """Entries of all processes of the local stack in order of time, secrets masked.

    Parameters
    ----------
    service : str or None
        Of this process alone, such as api or airflow-scheduler; airflow-tasks is what tasks said.
    since : str or None
        How far back: 30s, 15m, 2h, 7d, or an instant of UTC.
    level : LevelName
        This one and worse.
    lines : int
        The newest so many entries.
    follow : bool
        Go on until Ctrl-C.
    """
    if lines < 1:
        raise ConfigurationError(f"expected lines of 1 or more, was {lines}")
    files = log_files(settings)
    if files and service is not None and service not in files:
        raise ConfigurationError(f"expected a service of {', '.join(files)}, was {service!r}")

    def find() -> dict[str, list[Path]]:
        return {name: paths for name, paths in log_files(settings).items() if service in (None, name)}

    files = find()
    if not files:
        return command.Result({"entries": []}, START)
    begin = since_when(since, clock.now()) if since else _LONG_AGO
    mask, bound = Mask(settings), Level[level]
    opened = {path: path.stat().st_size for paths in files.values() for path in paths} if follow else {}
    found = gather(files, begin, bound)[-lines:]
    if not follow:
        text = "\n".join(mask.text(line_of(entry)) for entry in found) or "no entry of this kind"
        data = [{"text": mask.text(line_of(e)), "at": e.at, "service": e.service, "level": e.level.name}
                for e in found]  # fmt: skip
        return command.Result({"entries": data}, text)
    for entry in found:
        _tell(entry, mask, sys.stdout)
    _follow(find, opened, bound, mask, sys.stdout)
    return command.Result({"entries": []}, "")


def gather(files: dict[str, list[Path]], begin: datetime, bound: Level) -> list[Entry]:
    """Entries from then on of this level or worse, in order of time; without one, of its file's."""
    found: list[tuple[datetime, Entry]] = []
    for service, paths in files.items():
        for path in paths:
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if changed < begin:
                continue
            found += [(e.at or changed, e) for e in read_entries(path, service) if e.level >= bound]
    kept = [(at, entry) for at, entry in found if at >= begin]
    return [entry for _, entry in sorted(kept, key=lambda pair: pair[0])]


def line_of(entry: Entry) -> str:
    """For a terminal."""
    at = f"{entry.at:%F %T}" if entry.at else " " * 19
    head = f"{at} {entry.level.name:<8} {entry.service:<22} {entry.message}"
    return "\n".join([head, *(f"    {line}" for line in entry.more.splitlines())])


def _tell(entry: Entry, mask: Mask, out: TextIO) -> None:
    out.write(mask.text(line_of(entry)) + "\n")
    out.flush()


def _follow(
    find: Callable[[], dict[str, list[Path]]], read: dict[Path, int], bound: Level, mask: Mask, out: TextIO
) -> None:
    """Whole lines as they are written, of files that begin meanwhile, too, until interrupted."""
    services: dict[Path, str] = {}
    found_at = -FIND_SECONDS
    while True:
        if time.monotonic() - found_at >= FIND_SECONDS:
            services = {path: service for service, paths in find().items() for path in paths}
            found_at = time.monotonic()
        for path, service in services.items():
            for entry in parse(_new_lines(path, read), service):
                if entry.level >= bound:
                    _tell(entry, mask, out)
        time.sleep(POLL_SECONDS)


def _new_lines(path: Path, read: dict[Path, int]) -> Iterator[str]:
    """Of what was added; a file that is shorter than before was begun anew."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    known = read.get(path, 0)
    begin = known if size >= known else 0
    if size == begin:
        return
    with path.open("rb") as file:
        file.seek(begin)
        added = file.read()
    whole = added[: added.rfind(b"\n") + 1]
    read[path] = begin + len(whole)
    yield from whole.decode(errors="replace").splitlines()


if __name__ == "__main__":
    raise SystemExit(command.run(logs))
