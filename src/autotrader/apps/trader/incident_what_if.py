"""What would have come of an incident with another model: on paper, undisturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.model_predictor import ModelPredictor
from autotrader.adapters.paper_broker import PaperBroker
from autotrader.adapters.paper_journal import PaperJournal
from autotrader.apps.trader.incident_bundle import Incident
from autotrader.apps.trader.incident_difference import OWN_CAUSES, Recording
from autotrader.apps.trader.incident_run import begin_again, holdings_in, rules_in, terms_in
from autotrader.config.settings import Settings
from autotrader.domain.instruments import Venue
from autotrader.domain.orders import Fill, Order
from autotrader.domain.positions import ClosedTrade
from autotrader.ports.trading import EquityPoint, Page
from autotrader.trading.checkpoint import Checkpoint
from autotrader.trading.performance import measure
from autotrader.trading.reconciliation import Comparison
from autotrader.trading.unexplained import remember

_ALL = 2_000_000


@dataclass(frozen=True)
class Outcome:
    """What came of one way to decide; base currency.

    Attributes
    ----------
    max_drawdown : float or None
        Largest fall from a peak within the window, fraction of the peak.
    """

    orders: int
    fills: int
    trades: int
    pnl: Decimal
    max_drawdown: float | None


@dataclass(frozen=True)
class Compared:
    """What happened beside what another model would have done, on paper."""

    account: str
    start: datetime
    until: datetime
    model: str
    currency: str
    happened: Outcome
    would_have: Outcome
    interventions: tuple[str, ...]

    def to_text(self) -> str:
        """For a terminal."""
        rows = [
            ("orders", f"{self.happened.orders:,}", f"{self.would_have.orders:,}"),
            ("fills", f"{self.happened.fills:,}", f"{self.would_have.fills:,}"),
            ("trades", f"{self.happened.trades:,}", f"{self.would_have.trades:,}"),
            (f"PnL, {self.currency}", f"{self.happened.pnl:+,.2f}", f"{self.would_have.pnl:+,.2f}"),
            ("drawdown", _percent(self.happened.max_drawdown), _percent(self.would_have.max_drawdown)),
        ]
        lines = [
            f"account {self.account}, {self.start:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC",
            f"  {'':<12}{'happened':>16}  {self.model + ', on paper':>24}",
            *(f"  {name:<12}{was:>16}  {would:>24}" for name, was, would in rows),
        ]
        if self.interventions:
            lines.append("  not played back, for it came from outside:")
            lines += [f"    {told}" for told in self.interventions]
        return "\n".join(lines)


async def what_if(
    incident: Incident, predictor: ModelPredictor, model: str, settings: Settings, folder: Path
) -> Compared:
    """From the first checkpoint to the end, with nobody and nothing that intervenes."""
    checkpoint = incident.first
    terms = terms_in(checkpoint, settings, home=folder)
    account = checkpoint.state.account
    # That the account may be held back by something that ended later says nothing of the model.
    own = tuple(r for r in checkpoint.state.restrictions if r.cause in OWN_CAUSES)
    # Nor does what the venue had beyond the books: the paper venue has what they say.
    state = remember(replace(checkpoint.state, restrictions=own), Comparison())
    paper = PaperBroker(
        account,
        Venue(checkpoint.state.venue),
        currency=checkpoint.state.base_currency,
        rules=rules_in(checkpoint),
        settings=terms.paper,
        journal=PaperJournal(folder / "paper.jsonl", durable=False),
        clock=SystemWallClock(),
        holdings=holdings_in(checkpoint),
    )
    async with paper:
        rerun = await begin_again(
            checkpoint,
            state,
            terms,
            bars=incident.bars,
            orders=incident.orders,
            venue=paper,
            predictor=predictor,
            entry_rules=predictor,
        )
        await rerun.walk(paper, incident.batches(checkpoint, incident.until))
    begin, everything = checkpoint.first_close, Page(limit=_ALL)
    records = rerun.records
    return Compared(
        account=account,
        start=checkpoint.ts,
        until=incident.until,
        model=Path(model).name,
        currency=checkpoint.state.base_currency,
        happened=_outcome(
            checkpoint, begin, incident.orders, incident.fills, incident.trades, incident.equity
        ),
        would_have=_outcome(
            checkpoint,
            begin,
            records.orders(account, everything),
            records.fills(account, everything),
            records.trades(account, everything),
            records.equity(account, everything),
        ),
        interventions=Recording(incident).interventions(incident.until),
    )


def _outcome(
    checkpoint: Checkpoint,
    begin: datetime,
    orders: Sequence[Order],
    fills: Sequence[Fill],
    trades: Sequence[ClosedTrade],
    points: Sequence[EquityPoint],
) -> Outcome:
    last = max(points, key=lambda point: point.at)
    return Outcome(
        orders=sum(order.decided_at >= begin for order in orders),
        fills=sum(fill.at >= begin for fill in fills),
        trades=sum(trade.closed_at >= begin for trade in trades),
        pnl=last.equity - checkpoint.state.equity,
        max_drawdown=measure(points, (), rates={}).max_drawdown,
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
