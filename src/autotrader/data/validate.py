"""Check a stored day: `python -m autotrader.data.validate --date 2024-02-01`."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.calendars import expected_opens
from autotrader.data.lake import Lake
from autotrader.data.quality import Asked, missing_finding, stored_findings
from autotrader.data.schemas import DECODED_BARS
from autotrader.data.selection import select_instruments
from autotrader.domain.bars import floor_to
from autotrader.domain.errors import BadData, ConfigurationError, ExitCode
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.verdicts import Finding, Severity, Verdict, worst
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds


def validate(
    *,
    date: date,
    instrument: str | None = None,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    clock: MarketClock,
) -> command.Result:
    """Check the stored bars of a day: values, order, doubles, spikes, gaps, and the files themselves.

    Parameters
    ----------
    date : date
        The day, UTC.
    instrument : str or None
        A symbol of the settings, or venue:symbol; all of the settings if left out.
    """
    start = datetime.combine(date, time(), UTC)
    if start > clock.now():
        raise ConfigurationError(f"expected a day not after market time {clock.now():%Y-%m-%d}, was {date}")
    bars = BarStore(lake, holds)
    chosen = select_instruments(settings, [instrument] if instrument else None)
    verdicts = [_verdict(bars, i, settings, start, clock.now()) for i in chosen]
    return verdicts_result(verdicts)


def verdicts_result(verdicts: list[Verdict]) -> command.Result:
    """Verdicts as a command's result: exit code 1 if one is critical."""
    severity = worst(v.severity for v in verdicts)
    text = "\n".join(f"{v.subject}: {v.severity.value}: {v.reason}" for v in verdicts)
    data = {
        "severity": severity,
        "verdicts": [
            {"subject": v.subject, "severity": v.severity, "reason": v.reason, "findings": v.findings}
            for v in verdicts
        ],
    }
    return command.Result(data, text, ExitCode.FAILED if severity is Severity.CRITICAL else ExitCode.DONE)


def _verdict(
    bars: BarStore, instrument: InstrumentId, settings: Settings, start: datetime, now: datetime
) -> Verdict:
    subject = f"{instrument} {start:%Y-%m-%d}"
    interval = settings.strategy.interval
    end = min(start + timedelta(days=1), floor_to(now, interval))
    damaged = bars.bars.damaged(venue=instrument.venue.value, instrument=instrument.symbol)
    if damaged:
        return Verdict(
            subject, tuple(Finding("damaged_file", Severity.CRITICAL, w) for w in damaged.values())
        )
    try:
        rows = bars.read([instrument], interval=interval, start=start, end=end, columns=list(DECODED_BARS))
    except BadData as error:
        return Verdict(subject, (Finding("unreadable", Severity.CRITICAL, str(error)),))
    day = Asked(instrument.venue, instrument.symbol, interval, start, end, now)
    expected = expected_opens(instrument.venue, interval, start, end)
    return Verdict(
        subject, (missing_finding(subject, expected, rows["ts"]), *stored_findings(subject, rows, day))
    )


if __name__ == "__main__":
    raise SystemExit(command.run(validate))
