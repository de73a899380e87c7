"""What the trader exports, read from its own records: what a scrape shows is what is stored."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from autotrader.apps.process_metrics import register_process
from autotrader.config.settings import Settings
from autotrader.connectors.tally import reconnects
from autotrader.domain.errors import ConfigurationError, Unreachable
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import ZERO
from autotrader.domain.positions import ONE
from autotrader.ports.trading import AccountState, Page, TradingRecords
from autotrader.trading.performance import Performance, measure
from autotrader.trading.trader import Trader

_LATENCIES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_WINDOW = timedelta(days=30)
STREAMED = (Venue.BINANCE,)  # the venues whose bars or orders come over a stream that is made anew
_MOST_ROWS = 50_000
# Figures of a month are made anew at most so often.
_FRESH_SECONDS = 15.0


@dataclass(frozen=True)
class Figures:
    """The account and its performance, as of one reading."""

    state: AccountState
    performance: Performance
    has_rates: bool  # of all that was traded
    positions: dict[str, Decimal]
    realised: dict[str, Decimal]


class TradingMetrics:
    """Counts what happens in the process; everything else is read when it is asked for.

    Parameters
    ----------
    settings : Settings
    records : TradingRecords
    account : str
    """

    def __init__(self, settings: Settings, records: TradingRecords, account: str) -> None:
        self._host = settings.trading.metrics_host
        self._port = settings.trading.metrics_port
        self._records = records
        self._account = account
        self._figures: tuple[float, Figures] | None = None
        self._rates: Mapping[InstrumentId, Decimal] = {}
        self.registry = CollectorRegistry()
        self._signals = Counter(
            "trading_signals_total", "Bars for which there was a prediction", registry=self.registry
        )
        self._latency = Histogram(
            "trading_order_latency_seconds",
            "From a closed bar's arrival to the hand-over of its order",
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self._confidence = Histogram(
            "model_prediction_confidence",
            "Probability of the likeliest class",
            buckets=tuple(n / 20 for n in range(6, 21)),
            registry=self.registry,
        )
        self.registry.register(self)
        register_process(self.registry)

    def take(self, trader: Trader) -> None:
        """Count what the newest step did, and keep what currencies are worth by now."""
        rates = trader.book.rates()
        self._rates = {i: rates[r.currency] for i, r in trader.book.rules.items() if r.currency in rates}
        for seconds in trader.take_latencies():
            self._latency.observe(seconds)
        for signal in trader.take_signals():
            if signal.confidence is not None:
                self._signals.inc()
                self._confidence.observe(signal.confidence)

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Answer scrapes on the settings' address, in a thread.

        Raises
        ------
        ConfigurationError
            If the address is not one of this machine, or taken.
        """
        try:
            server, thread = start_http_server(self._port, addr=self._host, registry=self.registry)
        except OSError as error:
            raise ConfigurationError(
                f"expected {self._host}:{self._port} to be free for metrics, was {error.strerror}: "
                "set AUTOTRADER_TRADING__METRICS_HOST and AUTOTRADER_TRADING__METRICS_PORT"
            ) from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def collect(self) -> Iterator[Metric]:
        """The figures that are stored; none of these while the database does not answer."""
        streams = CounterMetricFamily(
            "websocket_reconnects", "Streams that were opened anew", labels=["venue"]
        )
        for venue in STREAMED:
            streams.add_metric([venue.value], reconnects[venue.value])
        yield streams
        try:
            figures = self._read()
        except Unreachable:
            return
        if figures is None:
            return
        state, performance = figures.state, figures.performance
        pnl = state.equity - state.initial_equity
        yield _gauge("trading_portfolio_value", "Equity, base currency", state.equity)
        yield _gauge("trading_pnl_total", "Equity less what the account began with, base currency", pnl)
        daily = state.equity - state.day_start_equity
        yield _gauge("trading_daily_pnl", "Equity less what the trading day began with, base currency", daily)
        yield _gauge("trading_total_trades", "Closed trades of 30 days", performance.trades)
        yield _gauge("trading_winning_trades", "Those of them that earned", performance.winners)
        if figures.has_rates:
            yield _gauge("trading_gross_profit", "What they earned, base currency", performance.gross_profit)
            yield _gauge("trading_gross_loss", "What the others lost, base currency", performance.gross_loss)
        tripped = any(restriction.cause.is_breaker for restriction in state.restrictions)
        yield _gauge("trading_circuit_breaker_active", "1 while the breaker halts the account", tripped)
        held = {name: units for name, units in figures.positions.items() if units}
        yield _gauge("trading_active_positions", "Instruments that are held", len(held))
        sizes = GaugeMetricFamily("trading_position_size", "Units held", labels=["instrument"])
        for name, units in figures.positions.items():
            sizes.add_metric([name], float(units))
        yield sizes
        earned = GaugeMetricFamily(
            "trading_realised_pnl",
            "Of what was closed since the account began, after fees, base currency",
            labels=["instrument"],
        )
        for name, amount in figures.realised.items():
            earned.add_metric([name], float(amount))
        yield earned
        # What there is too little of to say is absent, and never zero.
        for name, text, value, factor in (
            ("trading_sharpe_ratio", "Annualised, of 30 days", performance.sharpe, 1.0),
            ("trading_max_drawdown_percent", "Of 30 days", performance.max_drawdown, 100.0),
            ("trading_risk_var_95", "Fraction of equity, one day", performance.value_at_risk, 1.0),
        ):
            if value is not None:
                yield _gauge(name, text, value * factor)

    def _read(self) -> Figures | None:
        if self._figures is not None and time.monotonic() - self._figures[0] < _FRESH_SECONDS:
            return self._figures[1]
        state = self._records.state(self._account)
        if state is None or state.cursor is None:
            return None
        page = Page(start=state.cursor - _WINDOW, limit=_MOST_ROWS)
        trades = self._records.trades(self._account, page)
        rates, traded = self._rates, {trade.instrument for trade in trades}
        # What is not a sum of money is the same at any rate.
        at_rates = {instrument: rates.get(instrument, ONE) for instrument in traded}
        performance = measure(self._records.equity(self._account, page), trades, rates=at_rates)
        holdings = self._records.holdings(self._account)
        positions = {str(i): position.quantity for i, position in holdings.positions.items()}
        realised = {
            str(i): (position.realised - position.fees) * rates[i]
            for i, position in holdings.positions.items()
            if i in rates
        }
        figures = Figures(state, performance, traded <= rates.keys(), positions, realised)
        self._figures = (time.monotonic(), figures)
        return figures


def _gauge(name: str, text: str, value: Decimal | float | bool) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value or ZERO))
