"""What is wanted of each instrument: the strategy's memory from bar to bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from autotrader.config.settings import RiskSettings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import ASSET_CLASS_OF, AssetClass, InstrumentId, InstrumentRules
from autotrader.domain.orders import ZERO, to_step
from autotrader.execution.sizing import SizingRates, next_target
from autotrader.execution.strategy import StrategyRules
from autotrader.trading.bars import exact
from autotrader.trading.forecasting import Forecast

# Seconds in which the market prints bars, a year: crypto always, equities 252 sessions of 6.5 h, FX
# 52 weeks of 120 h.
_OPEN_SECONDS_A_YEAR = {
    AssetClass.CRYPTO: 365 * 86_400,
    AssetClass.EQUITY: 252 * 23_400,
    AssetClass.FX: 52 * 120 * 3_600,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one instrument is to be.

    Attributes
    ----------
    target : float
        Fraction of the instrument's share of equity, in [-1, 1].
    expires_us : int
        When it ends without another confirming score: bar opens, microseconds since 1970.
    units : Decimal
        What the target was worth when it was set: a position is not rebalanced while it is kept.
    """

    target: float = 0.0
    expires_us: int = 0
    units: Decimal = ZERO

    def to_plain(self) -> list[object]:
        return [self.target, self.expires_us, str(self.units)]

    @classmethod
    def from_plain(cls, value: Any) -> Wanted:
        """Raises BadData if it is not what `to_plain` wrote."""
        try:
            target, expires_us, units = value
            return cls(float(target), int(expires_us), Decimal(units))
        except (TypeError, ValueError, ArithmeticError):
            raise BadData(f"expected [target, expiry, units], was {value!r}") from None


class Targets:
    """Scores become wanted units, by the rules that backtest and canary use.

    Parameters
    ----------
    rules : StrategyRules
    instruments : sequence of InstrumentId
        Each has the same share of what the strategy may hold.
    risk : RiskSettings
    interval : Interval
    volatility_target : float or None
        Annualised, of a position.
    memory : Mapping of str to object
        As `to_plain` gave it; empty at the very first start.
    """

    def __init__(
        self,
        rules: StrategyRules,
        instruments: Sequence[InstrumentId],
        risk: RiskSettings,
        *,
        interval: Interval,
        volatility_target: float | None,
        memory: Mapping[str, object],
    ) -> None:
        self._rules = rules
        self._interval = interval
        self._volatility_target = volatility_target
        self.share = exact(min(risk.max_position, risk.max_strategy / len(instruments)))
        self._wanted = {i: Wanted.from_plain(memory[str(i)]) for i in instruments if str(i) in memory}
        self._rates: dict[tuple[InstrumentId, float], SizingRates] = {}

    def to_plain(self) -> dict[str, object]:
        """JSON: what must be remembered."""
        return {str(i): wanted.to_plain() for i, wanted in sorted(self._wanted.items())}

    def of(self, instrument: InstrumentId) -> Wanted:
        return self._wanted.get(instrument, Wanted())

    def hold(self, instrument: InstrumentId, units: Decimal) -> None:
        """Want what is held, whatever the strategy said, until its next opinion."""
        self._wanted[instrument] = replace(self.of(instrument), units=units)

    def give_up(self, instrument: InstrumentId, units: Decimal) -> None:
        """Want so many units less of what is wanted long: the venue has kept them."""
        wanted = self.of(instrument)
        if wanted.units > 0:
            self._wanted[instrument] = replace(wanted, units=max(wanted.units - units, ZERO))

    def forget(self) -> None:
        """Want nothing."""
        self._wanted.clear()

    def update(
        self,
        instrument: InstrumentId,
        ts: datetime,
        forecast: Forecast,
        *,
        equity: Decimal,
        price: Decimal,
        rate: Decimal,
        rules: InstrumentRules,
    ) -> Wanted:
        """Take the bar's forecast.

        Parameters
        ----------
        ts : datetime
            The bar's open.
        equity : Decimal
            Base currency.
        price : Decimal
            Close, quote currency.
        rate : Decimal
            Base currency per unit of quote currency.
        """
        before = self.of(instrument)
        now_us = round(ts.timestamp() * 1_000_000)
        score = forecast.score
        # Not strong enough for the version that answered is no opinion; neither is no answer, nor what it
        # says between its decisions.
        strong = score if forecast.decides and abs(score) > forecast.entry_score else 0.0
        rates = self._sizing(instrument, shortable=rules.shortable)
        target, expires_us = next_target(
            before.target, before.expires_us, now_us, strong, forecast.volatility, *rates
        )
        units = before.units
        if target != before.target:
            share = exact(float(target)) * self.share
            units = to_step(share * equity / (price * rate), rules.lot) if target else ZERO
        wanted = Wanted(float(target), int(expires_us), units)
        self._wanted[instrument] = wanted
        return wanted

    def _sizing(self, instrument: InstrumentId, *, shortable: bool) -> SizingRates:
        key = (instrument, float(shortable))
        if key not in self._rates:
            sizing = self._rules.sizing(str(instrument), 0.0)
            sizing = replace(
                sizing,
                shortable=sizing.shortable and shortable,
                volatility_target=self._volatility_target,
            )
            open_seconds = _OPEN_SECONDS_A_YEAR[ASSET_CLASS_OF[instrument.venue]]
            self._rates[key] = sizing.rates(
                interval=timedelta(seconds=self._interval.seconds),
                bars_a_year=open_seconds / self._interval.seconds,
            )
        return self._rates[key]
