"""Which week a report is of, and what in it deserves a look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta

from autotrader.alerts.weekly import (
    AccountWeek,
    AlertLine,
    DriftWeek,
    LevelLine,
    PipelineLine,
    RolloutLine,
    Window,
)
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.rollout import RolloutState
from autotrader.domain.thresholds import ALERTS, PANELS, WEEKLY_REPORT
from autotrader.pipelines.values import read_day

REPORT_AT = time(18)  # contract; Sunday, UTC
_SUNDAY = 6
_WEEK = timedelta(days=7)


def week_of(day: str | None, now: datetime, *, is_replay: bool) -> tuple[Window, bool]:
    """The week from Sunday 18:00 UTC to the next, and whether it is over.

    Parameters
    ----------
    day : str or None
        Any day that the week touches, YYYY-MM-DD, by its end of day. None or empty: the week that ended
        last; where market time stands, and no week ever ends, the one that it stands in.
    now : datetime
        Market time, UTC. A week that is not over ends here.

    Raises
    ------
    ConfigurationError
        If it is no date, or has not begun.
    """
    chosen = read_day(day, "day")
    if chosen and chosen > now.date():
        raise ConfigurationError(f"expected a day until {now:%F}, where market time is, was {chosen}")
    if chosen:
        end = _next_end(datetime.combine(chosen, time(), UTC))
    elif is_replay:
        end = _next_end(now)
    else:
        end = _next_end(now - _WEEK + timedelta.resolution)
    return Window(end - _WEEK, min(end, now)), end <= now


def _next_end(at: datetime) -> datetime:
    """The first Sunday 18:00 at or after."""
    sunday = at.date() + timedelta(days=(_SUNDAY - at.weekday()) % 7)
    end = datetime.combine(sunday, REPORT_AT, UTC)
    return end if end >= at else end + _WEEK


def look_at(
    *,
    accounts: Sequence[AccountWeek],
    drift: DriftWeek,
    rollouts: Sequence[RolloutLine],
    pipelines: Sequence[PipelineLine],
    levels: Sequence[LevelLine],
    alerts: Sequence[AlertLine],
) -> Iterator[str]:
    """Lines in order: money first, then what serves it."""
    for account in accounts:
        yield from _account(account)
    for alert in alerts:
        if alert.severity == Severity.CRITICAL:
            yield f"{alert.name} is {alert.state}: {alert.message}"
    for line in rollouts:
        if line.state in (RolloutState.ROLLED_BACK, RolloutState.ROLLING_BACK):
            whose = "for what it did" if line.is_faulty else "for another reason"
            yield f"{line.version} was taken back {whose}: {line.reason or 'no reason was recorded'}"
        elif line.state == RolloutState.PAUSED:
            yield f"the rollout of {line.version} waits for a person at {line.stage}"
    for level in levels:
        if level.budget_left is not None and level.budget_left < WEEKLY_REPORT.budget_left:
            yield f"{level.name}: {level.budget_left:.0%} of the error budget of 30 days is left"
    for pipeline in pipelines:
        if pipeline.failed:
            yield f"{pipeline.dag_id} failed {pipeline.failed} of {pipeline.failed + pipeline.succeeded} runs"
    critical = [feature.name for feature in drift.moved if feature.criticals]
    if critical:
        yield f"critical drift: {', '.join(critical)}"


def _account(account: AccountWeek) -> Iterator[str]:
    for restriction in account.restrictions:
        yield f"{account.account} is {account.state}: {restriction}"
    bound = PANELS.drawdown[0]
    if account.max_drawdown is not None and account.max_drawdown > bound:
        yield f"{account.account} fell {account.max_drawdown:.1%} from its peak, more than {bound:.0%}"
    if account.win_rate is not None and account.win_rate < ALERTS.win_rate:
        yield (
            f"{account.win_rate:.0%} of the {account.trades} trades of {account.account} earned, "
            f"less than {ALERTS.win_rate:.0%}"
        )
