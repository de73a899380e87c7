"""The circuit breaker: losses beyond their limits halt the account, and a person lets it trade again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from autotrader.config.settings import RiskSettings
from autotrader.domain.errors import Refused
from autotrader.domain.positions import ClosedTrade
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Control, Restriction
from autotrader.trading.restrictions import lift, restrict
from autotrader.trading.trading_day import trading_day

# What `resume` ends: what a person, the breaker or a row of losses has put in force. All else ends when
# its cause does.
_RESUMABLE = (Cause.DAILY_LOSS, Cause.DRAWDOWN, Cause.LOSSES, Cause.OPERATOR)


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When the breaker trips; shares are fractions of equity.

    Attributes
    ----------
    max_daily_loss : Decimal
        Of the equity with which the trading day began.
    max_drawdown : Decimal
        Of the highest equity so far.
    pause_losses, halt_losses : int
        Losing trades in a row.
    pause, halt : timedelta
        Market time for which they hold.
    day_boundary : str
        As `trading_day` reads it.
    """

    max_daily_loss: Decimal
    max_drawdown: Decimal
    pause_losses: int
    halt_losses: int
    pause: timedelta
    halt: timedelta
    day_boundary: str

    @classmethod
    def of(cls, risk: RiskSettings, day_boundary: str) -> BreakerRules:
        return cls(
            max_daily_loss=Decimal(str(risk.max_daily_loss)),
            max_drawdown=Decimal(str(risk.max_drawdown)),
            pause_losses=risk.pause_losses,
            halt_losses=risk.halt_losses,
            pause=timedelta(minutes=risk.pause_minutes),
            halt=timedelta(minutes=risk.halt_minutes),
            day_boundary=day_boundary,
        )


def mark(
    state: AccountState,
    equity: Decimal,
    *,
    market_time: datetime,
    rules: BreakerRules,
    now: datetime,
    actor: str,
) -> tuple[AccountState, tuple[Event, ...]]:
    """Take the account's equity at a bar's close: peak, trading day, and whether it trips the breaker.

    A day begins with the equity of the last bar before it: what is lost over the boundary is lost
    on the new day. Exactly the limit does not trip, anything beyond it does.

    Parameters
    ----------
    equity : Decimal
        Base currency, marked at this bar.
    market_time : datetime
        The bar's close.
    now : datetime
        Wall time.
    """
    day = trading_day(market_time, rules.day_boundary)
    if state.day is None or day > state.day:
        state = replace(state, day=day, day_start_equity=state.equity)
    state = replace(state, equity=equity, peak_equity=max(state.peak_equity, equity))
    events: tuple[Event, ...] = ()
    for cause, base, share, name in (
        (Cause.DAILY_LOSS, state.day_start_equity, rules.max_daily_loss, "of the day's first equity"),
        (Cause.DRAWDOWN, state.peak_equity, rules.max_drawdown, "of the highest equity"),
    ):
        lost = base - equity
        if lost <= share * base:
            continue
        part = f"{lost / base:.4%} " if base > 0 else ""
        reason = f"{cause.value}: lost {lost:,.2f}, {part}{name} {base:,.2f}; {share:.2%} is the limit"
        tripped = Restriction(cause, TradingState.HALTED, reason, since=now, actor=actor)
        state, told = restrict(state, tripped)
        events += told
    return state, events


def count_trades(
    state: AccountState,
    trades: Sequence[ClosedTrade],
    *,
    market_time: datetime,
    rules: BreakerRules,
    now: datetime,
    actor: str,
) -> tuple[AccountState, tuple[Event, ...]]:
    """Count losing trades in a row; enough of them pause or halt the account for a while.

    Every further loss of the row pauses or halts it again. A trade without loss ends the row, but
    not what the row has brought about.

    Parameters
    ----------
    trades : sequence of ClosedTrade
        New ones, in the order in which they were closed.
    market_time : datetime
        From which a pause or a halt runs.
    """
    events: tuple[Event, ...] = ()
    for trade in trades:
        losses = state.consecutive_losses + 1 if trade.pnl < 0 else 0
        state = replace(state, consecutive_losses=losses)
        if losses < min(rules.pause_losses, rules.halt_losses):
            continue
        halts = losses >= rules.halt_losses
        until = market_time + (rules.halt if halts else rules.pause)
        kind = TradingState.HALTED if halts else TradingState.REDUCING
        reason = (
            f"{losses} losing trades in a row, the last of {trade.pnl:,.2f}; until {until:%Y-%m-%d %H:%M %Z}"
        )
        standing = next((r for r in state.restrictions if r.cause is Cause.LOSSES), None)
        if standing is not None and standing.state is kind:
            # Its time runs from the newest loss on.
            state, _ = lift(state, Cause.LOSSES, reason=reason, actor=actor, at=now)
        state, told = restrict(state, Restriction(Cause.LOSSES, kind, reason, now, actor, until))
        events += told
    return state, events


def end_expired(
    state: AccountState, *, market_time: datetime, now: datetime, actor: str
) -> tuple[AccountState, tuple[Event, ...]]:
    """End what was to hold until now."""
    events: tuple[Event, ...] = ()
    for restriction in state.restrictions:
        if restriction.until is not None and restriction.until <= market_time:
            reason = f"the time is over that was set for: {restriction.reason}"
            state, told = lift(state, restriction.cause, reason=reason, actor=actor, at=now)
            events += told
    return state, events


def resume(state: AccountState, control: Control, *, now: datetime) -> tuple[AccountState, tuple[Event, ...]]:
    """Let the account trade again, as a person asked.

    What would trip at once again begins anew at the present equity: the peak after a drawdown, the
    day's first equity after a daily loss, the row of losses after losses. The other limit keeps its
    base. The old and the new bases are in the audit event. Restrictions of other causes stay, and so
    do those that were put in force after the request was made.

    Parameters
    ----------
    control : Control
        Its actor is the approver.
    now : datetime
        Wall time.

    Raises
    ------
    Refused
        If there is no approver or no reason.
    """
    if not control.actor.strip() or not control.reason.strip():
        raise Refused("expected an approver and a reason to resume trading, was without: name both")
    # What has come about since is not what was meant.
    ended = [r for r in state.restrictions if r.cause in _RESUMABLE and r.since <= control.asked_at]
    if not ended:
        return state, ()
    causes = {restriction.cause for restriction in ended}
    left = tuple(r for r in state.restrictions if r.cause not in causes)
    new = replace(
        state,
        restrictions=left,
        peak_equity=state.equity if Cause.DRAWDOWN in causes else state.peak_equity,
        day_start_equity=state.equity if Cause.DAILY_LOSS in causes else state.day_start_equity,
        consecutive_losses=0 if Cause.LOSSES in causes else state.consecutive_losses,
    )
    still = f"; still {new.state}: {'; '.join(r.reason for r in left)}" if left else ""
    event = Event(
        key=f"resume-{state.account}-{control.id}",
        type=EventType.AUDIT,
        severity="warning",
        message=f"Account {state.account} resumed by {control.actor}: {control.reason}{still}",
        actor=control.actor,
        at=now,
        data={
            "control": control.id,
            "state": new.state.value,
            "ended": {r.cause.value: r.reason for r in ended},
            "equity": str(state.equity),
            "peak_equity": [str(state.peak_equity), str(new.peak_equity)],
            "day_start_equity": [str(state.day_start_equity), str(new.day_start_equity)],
            "consecutive_losses": [state.consecutive_losses, new.consecutive_losses],
        },
    )
    return new, (event,)
