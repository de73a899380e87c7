"""How far bars and features are behind the market."""

from __future__ import annotations

from dataclasses import dataclass

from autotrader.apps.console.panel import Filled, Missing, Panel
from autotrader.apps.console.sources import Sources
from autotrader.data.bars import BarStore
from autotrader.data.freshness import Freshness, freshness
from autotrader.ports.holds import Hold


@dataclass(frozen=True, slots=True)
class Age:
    """One instrument."""

    instrument: str
    bars: Freshness
    features: Freshness


class _NoHolds:
    """Holds matter to what writes bars, not to reading how new they are."""

    def in_force(self) -> tuple[Hold, ...]:
        return ()


def read(sources: Sources) -> Filled | Missing:
    """From the logs of the lake's tables; no row is read."""
    interval, now = sources.settings.strategy.interval, sources.market_clock.now()
    bars, features = BarStore(sources.lake(), _NoHolds()), sources.features()
    ages = [
        Age(
            str(instrument),
            freshness(instrument.venue, interval, bars.high_water_mark(instrument, interval), now),
            freshness(instrument.venue, interval, features.high_water_mark(instrument, interval), now),
        )
        for instrument in sources.settings.instruments()
    ]
    if all(age.bars.newest is None and age.features.newest is None for age in ages):
        return Missing("No bar of these instruments is stored yet.", dag="data_pipeline")
    return Filled({"ages": ages, "interval": interval.value, "now": now})


FRESHNESS = Panel("freshness", "Data freshness", read, dags=("data_pipeline", "close_of_market"))
