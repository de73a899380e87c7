"""What answers look like. Amounts, prices and quantities are exact: decimal numbers as strings."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from autotrader.apps.api.status import ComponentStatus
from autotrader.command import to_plain
from autotrader.domain.orders import OrderStatus, OrderType, Side
from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage
from autotrader.domain.trading import Cause, ControlKind, RunStatus, TradingState
from autotrader.ports.deployment import SlotState
from autotrader.ports.events import EventType

T = TypeVar("T")


def digits(value: Decimal) -> str:
    """The number without an exponent."""
    text = str(value)
    return format(value, "f") if "E" in text else text  # seldom: the first takes a third of the time


Exact = Annotated[
    Decimal,
    PlainSerializer(digits, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "decimal", "pattern": r"^-?\d+(\.\d+)?$"}),
]
InstrumentText = Annotated[
    str, BeforeValidator(str), Field(description="venue:symbol", examples=["binance:BTCUSDT"])
]
Plain = Annotated[dict[str, Any], BeforeValidator(to_plain)]


class Body(BaseModel):
    """Filled from the values of the domain, by the same names."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Listing(Body, Generic[T]):
    """A part of a list, newest first."""

    items: list[T]
    start: datetime | None = Field(description="From here on")
    end: datetime | None = Field(description="Up to, but not including; repeat it to page through one state")
    limit: int
    offset: int
    next_offset: int | None = Field(description="Null on the last page")


class EventBody(Body):
    key: str
    type: EventType
    severity: str
    message: str
    actor: str
    at: datetime = Field(description="Wall time")
    instrument: str | None
    data: Plain


class EventSummaryBody(Body):
    start: datetime
    end: datetime
    total: int
    by_type: dict[EventType, int]
    by_severity: dict[str, int]


class PositionBody(Body):
    """An open position; amounts are in the instrument's quote currency."""

    instrument: InstrumentText
    quantity: Exact = Field(description="Below zero is short")
    average_price: Exact | None
    price: Exact | None = Field(description="Of the newest signal; null where there is none")
    priced_at: datetime | None = Field(description="Open of that signal's bar; market time")
    value: Exact | None
    unrealised_pnl: Exact | None
    realised_pnl: Exact = Field(description="Since ever, before fees")
    fees: Exact
    opened_at: datetime | None


class PositionsBody(Body):
    account: str
    base_currency: str
    equity: Exact
    cash: dict[str, Exact]
    revision: int = Field(description="Of the account: everything here is of this one")
    market_time: datetime | None = Field(description="Open of the newest bars that were dealt with")
    source: str = Field(description="Of the bars: live, recorded or SIMULATED")
    positions: list[PositionBody]


class OrderBody(Body):
    client_order_id: str
    venue_order_id: str | None
    strategy_id: str
    instrument: InstrumentText
    side: Side
    type: OrderType
    status: OrderStatus
    quantity: Exact
    filled: Exact
    average_price: Exact | None
    limit_price: Exact | None
    reference_price: Exact
    reduces: bool
    reason: str
    decided_at: datetime = Field(description="Market time")
    valid_until: datetime
    recorded_at: datetime = Field(description="Wall time")


class FillBody(Body):
    account: str
    fill_id: str
    client_order_id: str | None
    instrument: InstrumentText
    side: Side
    quantity: Exact
    price: Exact
    fee: Exact
    fee_currency: str
    at: datetime = Field(description="The venue's clock")


class TradeBody(Body):
    """A position from flat to flat; amounts are in the instrument's quote currency."""

    instrument: InstrumentText
    side: Side = Field(description="buy: it was long")
    quantity: Exact
    entry: Exact
    exit: Exact
    fees: Exact
    pnl: Exact = Field(description="After fees")
    opened_at: datetime
    closed_at: datetime


class SignalBody(Body):
    strategy_id: str
    instrument: InstrumentText
    ts: datetime = Field(description="Open of the bar; market time")
    version: str | None
    color: str | None
    epoch: int | None
    score: float | None
    confidence: float | None
    target: float = Field(description="Fraction of equity")
    price: Exact
    client_order_id: str | None
    outcome: str


class RestrictionBody(Body):
    cause: Cause
    state: TradingState
    reason: str
    since: datetime
    until: datetime | None = Field(description="Market time; null where somebody or something must end it")
    actor: str


class LeaseBody(Body):
    owner: str
    token: int = Field(description="Fencing token: grows with every new owner")
    expires_at: datetime
    is_held: bool


class ControlBody(Body):
    id: str
    account: str
    kind: ControlKind
    actor: str
    reason: str
    asked_at: datetime
    answered_at: datetime | None = Field(description="Null until the trader has done it")
    answer: str


class RiskBody(Body):
    account: str
    state: TradingState
    status: RunStatus
    heartbeat_at: datetime
    restrictions: list[RestrictionBody]
    breaker_tripped: bool
    lease: LeaseBody | None
    base_currency: str
    equity: Exact
    peak_equity: Exact
    drawdown: float = Field(description="Fraction below the peak")
    daily_pnl: Exact
    consecutive_losses: int
    waiting: list[ControlBody] = Field(description="What was asked of the trader and is not done yet")


class EquityBody(Body):
    at: datetime = Field(description="Market time")
    equity: Exact
    drawdown: float


class RouteBody(Body):
    instrument: str
    color: Color | None = Field(description="Who answers now; null: nobody")
    epoch: int
    green_until: datetime | None
    changed_at: datetime
    changed_by: str


class SlotBody(Body):
    color: Color
    state: SlotState
    version: str | None
    reason: str
    changed_at: datetime
    warm_until: datetime | None


class RolloutBody(Body):
    id: str
    version: str
    previous_version: str | None
    candidate: Color
    profile: str
    state: RolloutState
    stage: Stage
    stage_outcome: Outcome | None
    requested_by: str
    reason: str
    created_at: datetime
    stage_since: datetime
    ended_at: datetime | None


class DeploymentsBody(Body):
    strategy_id: str
    active_version: str | None
    active_color: Color | None
    controller_seen_at: datetime | None
    slots: list[SlotBody]
    routes: list[RouteBody]
    rollouts: list[RolloutBody] = Field(description="Newest first, the one under way among them")


class CheckBody(Body):
    status: ComponentStatus
    reason: str
    latency_ms: float | None = Field(description="Of the check itself")
    checked_at: datetime | None
    figures: Plain


class HealthBody(Body):
    status: ComponentStatus
    timestamp: datetime
    version: str
    uptime: float = Field(description="Seconds since this process began to serve")
    checks: dict[str, CheckBody]


class ProcessBody(Body):
    pid: int
    cpu_percent: float = Field(description="Of one core, since the last time that somebody asked")
    memory_bytes: int
    threads: int
    open_files: int


class ActivityBody(Body):
    """Of the last 24 hours that the trader dealt with: market time."""

    account: str
    start: datetime | None = Field(description="Null where no trader has dealt with a bar")
    trades: int
    signals: int


class DetailedHealthBody(HealthBody):
    process: ProcessBody
    activity: ActivityBody


class ComponentBody(HealthBody):
    """One component: `checks` holds it alone, and `status` is its own."""


class PerformanceBody(Body):
    """Of the equity points and closed trades of the window; null where there is too little to say."""

    start: datetime | None = Field(description="First point of the window; market time")
    end: datetime | None = Field(description="Last point")
    sharpe: float | None = Field(description="Annualised, of returns per minute")
    max_drawdown: float | None = Field(description="Fraction of the peak")
    trades: int | None
    winners: int | None
    win_rate: float | None
    gross_profit: Exact | None
    gross_loss: Exact | None
    profit_factor: float | None
    value_at_risk: float | None = Field(description="95 %, a day, fraction of equity")
    turnover: float | None


class EarnedBody(Body):
    """Base currency."""

    account: str
    base_currency: str
    revision: int
    market_time: datetime | None
    source: str
    initial_equity: Exact
    equity: Exact
    total: Exact = Field(description="Equity less the initial one")
    daily: Exact = Field(description="Equity less that at the day's start")
    realised: Exact | None = Field(description="After fees; null where not_summed says why")
    unrealised: Exact | None
    fees: Exact | None
    not_summed: str | None = Field(description="Why amounts of several currencies were not added up")
    days: int
    performance: PerformanceBody


class PnlBody(EarnedBody):
    """Base currency."""

    equity_curve: list[EquityBody] = Field(description="Oldest first; evenly thinned where there are more")
