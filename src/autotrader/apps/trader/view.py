"""What a person at a terminal sees while the trader runs."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autotrader.config.settings import RiskSettings
from autotrader.domain.errors import BadData
from autotrader.domain.trading import TradingState
from autotrader.trading.trader import Trader

_PAUSE_SECONDS = 0.25
_COLOURS = {TradingState.ACTIVE: "green", TradingState.REDUCING: "yellow", TradingState.HALTED: "red"}


class View:
    """A live page on stderr; used as a context manager. Shows nothing where it is not enabled.

    Parameters
    ----------
    risk : RiskSettings
        The limits that it shows.
    """

    def __init__(self, risk: RiskSettings, *, enabled: bool, console: Console | None = None) -> None:
        self._risk = risk
        self._live = Live(console=console or Console(stderr=True), auto_refresh=False) if enabled else None
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, trader: Trader) -> None:
        """Draw the page anew, a few times a second at most."""
        if self._live is not None and time.monotonic() - self._shown >= _PAUSE_SECONDS:
            self._shown = time.monotonic()
            self._live.update(page(trader, self._risk), refresh=True)


def page(trader: Trader, risk: RiskSettings) -> Group:
    """Account, positions, predictions, orders and limits as they are now."""
    state = trader.accounting.state
    colour = _COLOURS[state.state]
    head = Text.assemble(
        (f" {state.state.value.upper()} ", f"bold white on {colour}"),
        f"  account {state.account} · {state.source} · ",
        f"bars until {trader.market_now:%Y-%m-%d %H:%M}" if trader.market_now else "no bar yet",
    )
    why = Text("\n".join(restriction.reason for restriction in state.restrictions), style=colour)
    return Group(head, why, _money(trader), _limits(trader, risk), _positions(trader), _orders(trader))


def _money(trader: Trader) -> Panel:
    state = trader.accounting.state
    pnl, day = state.equity - state.initial_equity, state.equity - state.day_start_equity
    text = f"equity {state.equity:,.2f} {state.base_currency}   PnL {pnl:+,.2f}   today {day:+,.2f}"
    return Panel(text, title="money", title_align="left")


def _limits(trader: Trader, risk: RiskSettings) -> Panel:
    state = trader.accounting.state
    lost = max(0.0, float(1 - state.equity / state.day_start_equity)) if state.day_start_equity else 0.0
    fall = max(0.0, float(1 - state.equity / state.peak_equity)) if state.peak_equity else 0.0
    try:
        held = float(1 - trader.book.cash() / state.equity) if state.equity else 0.0
        exposure = f"{held:.1%}"
    except BadData:
        exposure = "not known"
    text = (
        f"daily loss {lost:.2%} of {risk.max_daily_loss:.2%}   "
        f"drawdown {fall:.2%} of {risk.max_drawdown:.2%}   "
        f"invested {exposure} of {risk.max_strategy:.0%}   "
        f"losses in a row {state.consecutive_losses} of {risk.halt_losses}"
    )
    return Panel(text, title="limits", title_align="left")


def _positions(trader: Trader) -> Table:
    table = Table(expand=True, title="positions and predictions", title_justify="left")
    for name in ("instrument", "price", "units", "unrealised", "score", "model", "target", "what came of it"):
        right = name not in {"instrument", "what came of it"}
        table.add_column(name, justify="right" if right else "left")
    for instrument in trader.mandate.instruments:
        position = trader.book.holdings.position(instrument)
        price, signal = trader.book.prices.get(instrument), trader.signals.get(instrument)
        table.add_row(
            str(instrument),
            "-" if price is None else f"{price:f}",
            f"{position.quantity.normalize():f}",
            "-" if price is None else f"{position.unrealised(price):+,.2f}",
            "-" if signal is None or signal.score is None else f"{signal.score:+.3f}",
            "-" if signal is None else f"{signal.version or '-'} {signal.color or ''}",
            "-" if signal is None else f"{signal.target:+.2f}",
            "-" if signal is None else signal.outcome[:60],
        )
    return table


def _orders(trader: Trader) -> Table:
    table = Table(expand=True, title="orders that work", title_justify="left")
    for name in ("order", "instrument", "side", "quantity", "filled", "state"):
        table.add_column(name)
    for order in list(trader.book.working.values())[-8:]:
        table.add_row(
            order.client_order_id[:12],
            str(order.instrument),
            order.side.value,
            f"{order.quantity:f}",
            f"{order.filled:f}",
            order.status.value,
        )
    try:
        cash = f"{trader.book.cash():,.2f}"
    except BadData:
        cash = "-"
    table.caption = f"cash {cash} {trader.accounting.state.base_currency}"
    return table
