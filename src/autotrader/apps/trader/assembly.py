"""A trader put together for one account: what was left of it, its rules, its recovery."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from autotrader import __version__
from autotrader.apps.trader.history import PastBars
from autotrader.config.settings import Settings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import NotFound, Rejected
from autotrader.domain.instruments import InstrumentId, InstrumentRules
from autotrader.domain.trading import RecoveryKind
from autotrader.execution.strategy import StrategyRules
from autotrader.features.definitions import BALANCED
from autotrader.ports.broker import Broker
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.predictions import Predictor
from autotrader.ports.trading import Recovery, TradingRecords
from autotrader.trading.accounting import Accounting
from autotrader.trading.bars import exact
from autotrader.trading.book import Book, Money
from autotrader.trading.breaker import BreakerRules
from autotrader.trading.broker_calls import BrokerCalls
from autotrader.trading.checkpoint import Checkpoints
from autotrader.trading.deciding import Deciding
from autotrader.trading.desk import OrderDesk
from autotrader.trading.forecasting import EntryRules, Forecasting
from autotrader.trading.lease_keeping import LeaseKeeper
from autotrader.trading.limits import RiskLimits
from autotrader.trading.opening import opened, set_aside, traded_no_more
from autotrader.trading.outages import Outages
from autotrader.trading.recovery import OVERLAP, Reconciliation, fills_from
from autotrader.trading.session import Pace, TradingSession
from autotrader.trading.targets import Targets
from autotrader.trading.trader import Mandate, Trader

log = structlog.get_logger(__name__)

# Sections of the settings that decisions depend on.
TERMS = ("strategy", "trading", "risk", "paper")

# Orders that another owner of the lease handed over may be on their way for so long: the validity
# that venues are told, and a round trip.
LONGEST_SEND_SECONDS = 5.0


@dataclass(frozen=True)
class Surroundings:
    """What a trader is put into.

    Attributes
    ----------
    account : str
    source : str
        `live`, `recorded` or `SIMULATED`.
    instruments : tuple of InstrumentId
        All of one venue.
    replayed : bool
        Whether bars come at their own pace, out of the past.
    longest_send_seconds : float
        0 where the venue is in this process.
    """

    account: str
    source: str
    instruments: tuple[InstrumentId, ...]
    replayed: bool
    longest_send_seconds: float


@dataclass(frozen=True)
class Assembled:
    """A trader that is ready to recover.

    Attributes
    ----------
    start : RecoveryKind
    why : str
        What kind of start it is.
    """

    session: TradingSession
    trader: Trader
    start: RecoveryKind
    why: str


def make_keeper(
    settings: Settings,
    around: Surroundings,
    records: TradingRecords,
    clock: WallClock,
    *,
    owner: str,
    has_ended: Callable[[str], bool],
) -> LeaseKeeper:
    """The keeper of the account's lease; it has not taken it yet."""
    return LeaseKeeper(
        records,
        around.account,
        owner,
        clock,
        seconds=settings.trading.lease_seconds,
        longest_send_seconds=around.longest_send_seconds,
        has_ended=has_ended,
    )


async def assemble(
    settings: Settings,
    around: Surroundings,
    *,
    keeper: LeaseKeeper,
    broker: Broker,
    records: TradingRecords,
    predictor: Predictor,
    entry_rules: EntryRules,
    past: Mapping[InstrumentId, PastBars],
    clock: WallClock,
    market_clock: MarketClock | None = None,
    is_open: Callable[[], bool] = lambda: True,
    tell: Callable[[Recovery], None] = lambda _: None,
    watch: Callable[[Trader], None] = lambda _: None,
) -> Assembled:
    """Put a trader together; the lease is held.

    Parameters
    ----------
    past : Mapping
        Bars up to the account's cursor, or to the first bar of all.
    market_clock : MarketClock or None
        None where bars come at their own pace: none of them is too old then.

    Raises
    ------
    ConfigurationError
        If the account is another strategy's, venue's or currency's, or no rate leads from an
        instrument's currency to the base currency; or if more than dust is held of what is traded no more.
    DependencyError
        If broker or database do not answer.
    """
    strategy, trading = settings.strategy, settings.trading
    actor = f"trader@{around.account}"
    calls = BrokerCalls()
    money = Money(trading.base_currency, frozenset(trading.same_as_base))
    rules = await calls("instrument rules", lambda: broker.rules(around.instruments))
    money.require_rates(rules)
    book = _book(records, around.account, rules, money, past, strategy.interval)
    gone = await _rules_of(traded_no_more(book.holdings, rules), broker, calls)
    if left_out := set_aside(book, gone, venue=broker.venue):
        log.warning("dust of what is traded no more is left out of equity and limits", held=left_out)
    account = await calls("the account", lambda: broker.account(around.instruments))
    state, start, why = opened(
        records,
        keeper.lease,
        book,
        account,
        strategy_id=strategy.strategy_id,
        venue=broker.venue.value,
        source=around.source,
        clock=clock,
    )
    memory = state.memory.get("targets", {})
    outages = Outages(clock)
    forecasting = _forecasting(predictor, entry_rules, around, strategy.interval, past)
    accounting = Accounting(records, keeper, book, state, clock, actor=actor)
    desk = OrderDesk(broker, book, keeper, calls, clock, longest_send_seconds=around.longest_send_seconds)
    limits = RiskLimits.of(settings.risk)
    validity = timedelta(minutes=trading.order_minutes)
    trader = Trader(
        Mandate(
            strategy.strategy_id,
            around.instruments,
            interval=strategy.interval.delta,
            holding=timedelta(minutes=strategy.horizon_minutes),
            write_every=60 if around.replayed else 1,
        ),
        accounting,
        desk,
        Deciding(book, limits, strategy_id=strategy.strategy_id, validity=validity),
        forecasting,
        Targets(
            StrategyRules.of(strategy),
            around.instruments,
            settings.risk,
            interval=strategy.interval,
            volatility_target=trading.volatility_target,
            memory=memory if isinstance(memory, Mapping) else {},
        ),
        BreakerRules.of(settings.risk, trading.day_boundary),
        outages,
        records,
        clock,
        market_clock=market_clock,
        checkpoints=Checkpoints(
            around.instruments,
            strategy.interval,
            day_boundary=trading.day_boundary,
            terms=terms_of(settings),
            actor=actor,
        ),
        actor=actor,
    )
    reconciliation = Reconciliation(
        trader,
        broker,
        calls,
        outages,
        clock,
        major=trading.major_discrepancy,
        actor=actor,
    )
    pace = Pace(
        heartbeat=trading.heartbeat_seconds,
        reconcile=trading.reconcile_seconds,
        dead_man=trading.dead_man_seconds,
        bars=None if around.replayed else float(strategy.interval.seconds),
    )
    session = TradingSession(
        trader,
        reconciliation,
        keeper,
        broker,
        calls,
        outages,
        records,
        clock,
        pace=pace,
        actor=actor,
        is_open=is_open,
        tell=tell,
        watch=watch,
    )
    return Assembled(session, trader, start, why)


async def _rules_of(
    instruments: Sequence[InstrumentId], broker: Broker, calls: BrokerCalls
) -> dict[InstrumentId, InstrumentRules]:
    """The venue's rules of those that it still has."""
    found: dict[InstrumentId, InstrumentRules] = {}
    for instrument in instruments:
        with contextlib.suppress(NotFound, Rejected):
            found.update(await calls("instrument rules", partial(broker.rules, (instrument,))))
    return found


def _book(
    records: TradingRecords,
    account: str,
    rules: Mapping[InstrumentId, InstrumentRules],
    money: Money,
    past: Mapping[InstrumentId, PastBars],
    interval: Interval,
) -> Book:
    state = records.state(account)
    working = records.working_orders(account)
    # Further back than the venue is asked: to know too many does no harm.
    since = None if state is None else fills_from(state, working) - OVERLAP
    known = frozenset() if since is None else records.known_fills(account, since)
    book = Book(records.holdings(account), working, known, rules, money)
    for instrument, bars in past.items():
        if bars.ts_us.size:
            opened_at = datetime.fromtimestamp(int(bars.ts_us[-1]) / 1_000_000, UTC)
            book.mark(instrument, exact(bars.columns[2, -1]), opened_at + interval.delta)
    return book


def _forecasting(
    predictor: Predictor,
    entry_rules: EntryRules,
    around: Surroundings,
    interval: Interval,
    past: Mapping[InstrumentId, PastBars],
) -> Forecasting:
    forecasting = Forecasting(
        predictor,
        entry_rules,
        feature_set=BALANCED,
        interval=interval,
        instruments=around.instruments,
        name=around.account,
        replayed=around.replayed,
    )
    for instrument, bars in past.items():
        forecasting.warm(instrument, bars.ts_us, bars.columns)
    return forecasting


def terms_of(settings: Settings) -> dict[str, object]:
    """All settings that decisions depend on, and what decided, as JSON; none of it is secret."""
    return {
        "autotrader": __version__,
        **{name: getattr(settings, name).model_dump(mode="json") for name in TERMS},
    }


def of_venue(instruments: Sequence[InstrumentId]) -> tuple[InstrumentId, ...]:
    """Those of the first one's venue: an account is at one venue."""
    return tuple(i for i in instruments if i.venue is instruments[0].venue)
