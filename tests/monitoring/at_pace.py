"""A process of the platform that looks around every second or two: `python -m tests.monitoring.at_pace NAME`.

Where and how it looks is as ever; only the pauses between are those of a test.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace

from autotrader import command
from autotrader.apps.api import application
from autotrader.apps.exporter import serve as exporter
from autotrader.apps.exporter.watching import Source, Watch
from autotrader.ports.clock import WallClock

EXPORTER_SECONDS, API_SECONDS = 1.5, 2.0


class HastyWatch(Watch):
    """Looks at every source after a short pause."""

    def __init__(self, sources: Sequence[Source], clock: WallClock) -> None:
        super().__init__([replace(source, period_seconds=EXPORTER_SECONDS) for source in sources], clock)


def main(name: str, arguments: list[str]) -> int:
    exporter.Watch = HastyWatch  # type: ignore[misc]
    application.HealthBoard = functools.partial(  # type: ignore[misc, assignment]
        application.HealthBoard, interval_seconds=API_SECONDS
    )
    verb = importlib.import_module(f"autotrader.apps.{name}.serve").serve
    return command.run(verb, arguments, prog=name)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
