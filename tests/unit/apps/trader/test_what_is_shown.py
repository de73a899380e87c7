"""What people and programs see of a trader: its page, its summary, its metrics."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from autotrader.apps.trader.metrics import TradingMetrics
from autotrader.apps.trader.summary import sparkline, summarise
from autotrader.apps.trader.view import page
from autotrader.domain.errors import NotFound
from autotrader.ports.trading import Page
from autotrader.trading.trader import Trader
from tests.trading import BTC, ETH, World, walk


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


def test_metrics_are_what_is_stored_and_what_was_counted(
    traded: tuple[World, str, TradingMetrics],
) -> None:
    world, _, metrics = traded
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
    }
    state = world.records.state("main")
    assert state is not None
    trades = world.records.trades("main", Page(limit=10_000))
    holdings = world.records.holdings("main")
    assert samples["trading_portfolio_value",] == pytest.approx(float(state.equity))
    assert samples["trading_pnl_total",] == pytest.approx(float(state.equity - state.initial_equity))
    assert samples["trading_total_trades",] == len(trades) > 0
    assert samples["trading_winning_trades",] == sum(trade.pnl > 0 for trade in trades)
    assert samples["trading_circuit_breaker_active",] == 0
    assert samples["trading_signals_total",] == 240
    assert samples["trading_order_latency_seconds_count",] == len(
        world.records.orders("main", Page(limit=10_000))
    )
    for instrument, position in holdings.positions.items():
        assert samples["trading_position_size", str(instrument)] == float(position.quantity)
    assert ("trading_risk_var_95",) not in samples, "two hours do not tell a day's risk"


def test_before_its_first_bar_an_account_has_no_figures(tmp_path: Path) -> None:
    world = World(tmp_path, walk((BTC,), 1), instruments=(BTC,))
    metrics = TradingMetrics(world.settings, world.records, "main")
    page = generate_latest(metrics.registry).decode()
    assert "trading_portfolio_value" not in page
    assert "trading_signals_total 0.0" in page


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
