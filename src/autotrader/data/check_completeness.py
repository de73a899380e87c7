"""Look for gaps: `python -m autotrader.data.check_completeness --start 2024-02-01 --end 2024-03-01`."""

from __future__ import annotations

from datetime import datetime

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.calendars import expected_opens
from autotrader.data.lake import Lake
from autotrader.data.quality import missing_finding
from autotrader.data.selection import select_instruments
from autotrader.data.validate import verdicts_result
from autotrader.domain.bars import floor_to
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.verdicts import Verdict
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds


def check_completeness(
    *,
    start: datetime,
    end: datetime,
    instruments: tuple[str, ...] | None = None,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    clock: MarketClock,
) -> command.Result:
    """Compare the stored bars with the markets' calendars: missing > 5 % warns, > 10 % is critical.

    Parameters
    ----------
    start, end : datetime
        First open, and the open before which to stop, UTC; bars that have not closed by market
        time are not expected.
    instruments : tuple of str or None
        Symbols of the settings, or venue:symbol; all of the settings if left out.
    """
    if end <= start:
        raise ConfigurationError(f"expected start before end, was {start} to {end}: swap the dates")
    if start > clock.now():
        raise ConfigurationError(f"expected start not after market time {clock.now()}, was {start}")
    interval = settings.strategy.interval
    end = min(end, floor_to(clock.now(), interval))
    bars = BarStore(lake, holds)
    verdicts = []
    for instrument in select_instruments(settings, instruments):
        present = bars.read([instrument], interval=interval, start=start, end=end, columns=["ts"])["ts"]
        expected = expected_opens(instrument.venue, interval, start, end)
        verdicts.append(Verdict(str(instrument), (missing_finding(str(instrument), expected, present),)))
    return verdicts_result(verdicts)


if __name__ == "__main__":
    raise SystemExit(command.run(check_completeness))
