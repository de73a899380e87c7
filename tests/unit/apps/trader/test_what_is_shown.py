"""What people and programs see of a trader: its page, its summary, its metrics."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from autotrader.apps.trader.metrics import TradingMetrics
from autotrader.apps.trader.summary import sparkline, summarise
from autotrader.apps.trader.view import page
from autotrader.config.settings import Settings, TradingSettings
from autotrader.domain.errors import ConfigurationError, NotFound, Unreachable
from autotrader.domain.instruments import InstrumentRules
from autotrader.ports.trading import Page
from autotrader.trading.trader import Trader
from tests.services import free_port
from tests.trading import BTC, ETH, START, Scores, World, walk


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, str, TradingMetrics]:
    """Two hours on paper, the page at the end of the first, and what was counted."""
    world = World(tmp_path_factory.mktemp("traded"), walk((BTC, ETH), 120))
    metrics = TradingMetrics(world.settings, world.records, world.account)
    console = Console(record=True, width=160, file=io.StringIO())

    def watch(trader: Trader) -> None:
        metrics.take(trader)
        if trader.market_now and (trader.market_now.hour, trader.market_now.minute) == (1, 0):
            console.print(page(trader, world.settings.risk))

    world.run(watch=watch)
    return world, console.export_text(), metrics


def test_the_page_shows_state_money_limits_positions_predictions_and_orders(
    traded: tuple[World, str, TradingMetrics],
) -> None:
    shown = traded[1]
    for words in ("ACTIVE", "bars until 2024-01-02 01:00", "equity", "daily loss", "of 5.00%", "of 15.00%"):
        assert words in shown
    for words in ("binance:BTCUSDT", "binance:ETHUSDT", "v1.0.0 blue", "orders that work", "cash"):
        assert words in shown


def test_the_summary_is_of_what_is_stored(traded: tuple[World, str, TradingMetrics], tmp_path: Path) -> None:
    world = traded[0]
    summary = summarise(world.records, "main", picture=tmp_path / "equity.png")
    state = world.records.state("main")
    assert state is not None
    assert (summary.equity, summary.pnl) == (state.equity, state.equity - state.initial_equity)
    assert summary.bars == 120
    assert summary.orders == len(world.records.orders("main", Page(limit=10_000))) > 0
    assert summary.decision_hash == state.memory["decision_hash"]
    assert (tmp_path / "equity.png").read_bytes().startswith(b"\x89PNG")
    assert f"{summary.orders:,} orders" in summary.to_text()
    with pytest.raises(NotFound, match="nobody"):
        summarise(world.records, "nobody")


SILENT = (
    "60 predictions scored +0.050 to +0.050;"
    " a position wants a score beyond 0.100 and a move that pays its costs"
)


@pytest.mark.parametrize(
    ("score", "fails", "told"),
    [
        (0.05, None, SILENT),
        (0.6, Unreachable("blue is away"), "no prediction: blue is away (60 of 60 times)"),
    ],
)
def test_where_nothing_was_ordered_it_says_why(
    tmp_path: Path, score: float, fails: Exception | None, told: str
) -> None:
    world = World(tmp_path, walk((BTC,), 60), instruments=(BTC,), predictor=Scores(lambda *_: score))
    world.predictor.fails = fails
    world.run()
    summary = summarise(world.records, "main", entry_rules=world.predictor)
    assert summary.orders == 0
    assert summary.no_order_because == told
    assert f"no order: {summary.no_order_because}" in summary.to_text()


def test_what_a_limit_forbade_is_why_nothing_was_ordered(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, risk={"max_order_notional": "0.01"})
    world = World(tmp_path, walk((BTC,), 60), (BTC,), Scores(lambda *_: 0.6), settings)
    world.run()
    told = summarise(world.records, "main", entry_rules=world.predictor).no_order_because
    assert told.startswith("notional: expected to buy 0.00 at most, was to buy 193.77 binance:BTCUSDT")
    assert told.endswith("(1 of 60 times)"), "a wish that a limit forbade is not repeated at each bar"


def samples_of(metrics: TradingMetrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("yen", [Decimal(150), None])
def test_money_in_another_currency_is_told_at_its_rate_or_not_at_all(
    tmp_path: Path, yen: Decimal | None
) -> None:
    world = World(tmp_path, walk((BTC, ETH), 60))
    trader = world.run().trader
    book = trader.book
    of_yen = InstrumentRules(Decimal("0.001"), Decimal(1), Decimal(1), "JPY", "USD")
    book.rules[BTC] = of_yen
    book.mark(BTC, yen or Decimal(1), START)
    if yen is None:
        del book.prices[BTC]
    metrics = TradingMetrics(world.settings, world.records, "main")
    metrics.take(trader)
    samples = samples_of(metrics)
    trades = world.records.trades("main", Page(limit=10_000))
    assert {BTC, ETH} == {trade.instrument for trade in trades}
    assert samples["trading_winning_trades",] == sum(trade.pnl > 0 for trade in trades)
    earned = {i: float(p.realised - p.fees) for i, p in world.records.holdings("main").positions.items()}
    assert samples["trading_realised_pnl", str(ETH)] == pytest.approx(earned[ETH])
    if yen is None:
        assert ("trading_realised_pnl", str(BTC)) not in samples
        assert ("trading_gross_profit",) not in samples
        assert ("trading_gross_loss",) not in samples
        return
    assert samples["trading_realised_pnl", str(BTC)] == pytest.approx(earned[BTC] / 150)
    net = sum(float(trade.pnl) / (150 if trade.instrument == BTC else 1) for trade in trades)
    assert samples["trading_gross_profit",] - samples["trading_gross_loss",] == pytest.approx(net)


def test_metrics_are_what_is_stored_and_what_was_counted(
    traded: tuple[World, str, TradingMetrics],
) -> None:
    world, _, metrics = traded
    samples = samples_of(metrics)
    state = world.records.state("main")
    assert state is not None
    trades = world.records.trades("main", Page(limit=10_000))
    holdings = world.records.holdings("main")
    assert samples["trading_portfolio_value",] == pytest.approx(float(state.equity))
    assert samples["trading_pnl_total",] == pytest.approx(float(state.equity - state.initial_equity))
    assert samples["trading_daily_pnl",] == pytest.approx(float(state.equity - state.day_start_equity))
    assert samples["trading_total_trades",] == len(trades) > 0
    assert samples["trading_winning_trades",] == sum(trade.pnl > 0 for trade in trades)
    assert samples["trading_circuit_breaker_active",] == 0
    assert samples["trading_signals_total",] == 240
    assert samples["trading_order_latency_seconds_count",] == len(
        world.records.orders("main", Page(limit=10_000))
    )
    for instrument, position in holdings.positions.items():
        assert samples["trading_position_size", str(instrument)] == float(position.quantity)
        earned = float(position.realised - position.fees)
        assert samples["trading_realised_pnl", str(instrument)] == pytest.approx(earned) != 0
    assert ("trading_risk_var_95",) not in samples, "two hours do not tell a day's risk"


def test_before_its_first_bar_an_account_has_no_figures(tmp_path: Path) -> None:
    world = World(tmp_path, walk((BTC,), 1), instruments=(BTC,))
    metrics = TradingMetrics(world.settings, world.records, "main")
    page = generate_latest(metrics.registry).decode()
    assert "trading_portfolio_value" not in page
    assert "trading_signals_total 0.0" in page


@pytest.mark.parametrize(("host", "asked"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.2")])  # noqa: S104
def test_metrics_are_served_where_the_settings_say(tmp_path: Path, host: str, asked: str) -> None:
    port = free_port()
    trading = TradingSettings(metrics_host=host, metrics_port=port)
    world = World(tmp_path, walk((BTC,), 1), instruments=(BTC,))
    settings = world.settings.model_copy(update={"trading": trading})
    with TradingMetrics(settings, world.records, "main").served():
        page = httpx.get(f"http://{asked}:{port}/metrics", trust_env=False).text
        assert "trading_signals_total 0.0" in page
        if host == "127.0.0.1":
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"http://127.0.0.2:{port}/metrics", trust_env=False)


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    trading = TradingSettings(metrics_host="192.0.2.1", metrics_port=free_port())
    world = World(tmp_path, walk((BTC,), 1), instruments=(BTC,))
    metrics = TradingMetrics(world.settings.model_copy(update={"trading": trading}), world.records, "main")
    with pytest.raises(ConfigurationError, match="AUTOTRADER_TRADING__METRICS_HOST"), metrics.served():
        pass


@pytest.mark.parametrize(
    ("values", "line"), [([], "-"), ([1.0, 1.0], "▁▁▁"), ([0.0, 1.0], "▁██"), ([3.0], "▁▁")]
)
def test_a_line_of_blocks_goes_from_the_lowest_to_the_highest(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_money_is_told_to_the_cent(traded: tuple[World, str, TradingMetrics]) -> None:
    state = traded[0].records.state("main")
    assert state is not None
    text = summarise(traded[0].records, "main").to_text()
    assert f"{(state.equity - state.initial_equity).quantize(Decimal('0.01')):+,}" in text
