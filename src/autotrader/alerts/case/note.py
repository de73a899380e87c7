"""Add to a case's timeline."""

from __future__ import annotations

from autotrader import command
from autotrader.alerts.wording import one_line
from autotrader.config.actor import operator
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.alerts import Alerts, CaseEntry
from autotrader.ports.clock import WallClock

MOST_CHARACTERS = 2_000


def note(*, case: str, text: str, alerts: Alerts, clock: WallClock) -> command.Result:
    """Write into the timeline of an open case what was seen or done.

    Parameters
    ----------
    case : str
        Id of the case.
    text : str
        One or a few sentences.
    """
    said = one_line(text, MOST_CHARACTERS)
    if not said:
        raise ConfigurationError("expected --text, was empty: say what was seen or done")
    entry = CaseEntry(clock.now(), operator(), said)
    alerts.note(case, entry)
    return command.Result(entry, f"noted in case {case}")


if __name__ == "__main__":
    raise SystemExit(command.run(note))
