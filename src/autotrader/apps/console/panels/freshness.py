"""How far bars and features are behind the market, and whether they have what was due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autotrader.apps.console.panel import Filled, Missing, Panel
from autotrader.apps.console.sources import Sources
from autotrader.data.bars import BarStore
from autotrader.data.freshness import Freshness, delivery_finding, freshness
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.verdicts import Finding
from autotrader.ports.holds import Hold


@dataclass(frozen=True, slots=True)
class Age:
    """Of one table: how old, and what that says of the data runs."""

    found: Freshness
    delivery: Finding


@dataclass(frozen=True, slots=True)
class Ages:
    """One instrument."""

    instrument: str
    bars: Age
    features: Age


class _NoHolds:
    """Holds matter to what writes bars, not to reading how new they are."""

    def in_force(self) -> tuple[Hold, ...]:
        return ()


def read(sources: Sources) -> Filled | Missing:
    """From the logs of the lake's tables; no row is read."""
    interval, clock = sources.settings.strategy.interval, sources.market_clock
    now = clock.now()
    bars, features = BarStore(sources.lake(), _NoHolds()), sources.features()

    def age(instrument: InstrumentId, newest: datetime | None) -> Age:
        found = freshness(instrument.venue, interval, newest, now)
        return Age(found, delivery_finding(str(instrument), instrument.venue, interval, newest, clock))

    ages = [
        Ages(
            str(instrument),
            age(instrument, bars.high_water_mark(instrument, interval)),
            age(instrument, features.high_water_mark(instrument, interval)),
        )
        for instrument in sources.settings.instruments()
    ]
    if all(one.bars.found.newest is None and one.features.found.newest is None for one in ages):
        return Missing("No bar of these instruments is stored yet.", dag="data_pipeline")
    return Filled({"ages": ages, "interval": interval.value, "now": now, "replay": clock.is_replay})


FRESHNESS = Panel("freshness", "Data freshness", read, dags=("data_pipeline", "close_of_market"))
