"""From the three checks to one verdict, its page, and an event where it is critical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.monitoring.champion import find_champion
from autotrader.monitoring.checks import DRIFT, Check
from autotrader.monitoring.feature_drift import current_rows
from autotrader.monitoring.page import write_page
from autotrader.monitoring.verdict import Health, announce, conclude
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.events import EventLog
from autotrader.ports.registry import ModelRegistry

ACTOR = "feature_health_check"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What the checks came to.

    Attributes
    ----------
    health : Health
    reason : str
    what_to_do : tuple of str
    retrain : bool
        Whether training is to be triggered now: the verdict is critical, newer data could mend it,
        and the setting asks for it.
    model : str or None
        Live version, semver.
    market_time : str
        UTC.
    replay : bool
    checks : Mapping[str, Mapping[str, object]]
        Severity, whether it was decided, and reason of each.
    moved : tuple of Mapping
        The five most unusual features: name, severity, psi, p_value.
    report : str
        Page for people; `verdict.json` beside it has everything.
    event : str or None
        Key of the event of a critical verdict.
    """

    health: Health
    reason: str
    what_to_do: tuple[str, ...]
    retrain: bool
    model: str | None
    market_time: str
    replay: bool
    checks: Mapping[str, Mapping[str, Any]]
    moved: tuple[Mapping[str, Any], ...]
    report: str
    event: str | None


def make_health_report(
    checks: Sequence[Check],
    *,
    run_key: str,
    settings: Settings,
    lake: Lake,
    registry: ModelRegistry,
    events: EventLog,
    clock: MarketClock,
    wall_clock: WallClock,
    distributions: bool = True,
) -> HealthReport:
    """Conclude, record a critical verdict as an event (once for each key), and write the page.

    Parameters
    ----------
    checks : sequence of Check
        Drift, quality and performance.
    run_key : str
        Names the check: done again with the same key, it is the same event and the same folder.
    distributions : bool
        Whether the page has Evidently's, too.

    Raises
    ------
    BadData
        If the reference is damaged.
    Unreachable
        If the registry does not answer; the event is recorded by then.
    """
    verdict = conclude(
        checks,
        market_time=clock.now(),
        replay=clock.is_replay,
        strategy_id=settings.strategy.strategy_id,
        retrain_on_critical=settings.monitoring.retrain_on_critical,
    )
    event = announce(verdict, events, run_key=run_key, actor=ACTOR, at=wall_clock.now())
    champion = find_champion(settings, registry) if distributions else None
    reference = champion.reference if champion else None
    rows = current_rows(settings, lake, champion, reference, clock) if champion and reference else None
    page = write_page(
        verdict,
        folder=settings.home.resolve() / "reports" / "health",
        run_key=run_key,
        current=rows,
        reference=reference,
    )
    features = verdict.checks[DRIFT].figures.get("features", [])
    return HealthReport(
        health=verdict.health,
        reason=verdict.reason,
        what_to_do=verdict.what_to_do,
        retrain=verdict.retrain,
        model=verdict.model,
        market_time=verdict.market_time.isoformat(),
        replay=verdict.replay,
        checks={
            c.name: {"severity": c.severity.value, "decided": c.decided, "reason": c.reason} for c in checks
        },
        moved=tuple({k: f[k] for k in ("name", "severity", "psi", "p_value")} for f in features[:5]),
        report=str(page),
        event=event,
    )
