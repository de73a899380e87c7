"""Equity is cash plus positions, and what has been earned, whatever has been filled at whatever price."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Side
from autotrader.domain.positions import Holdings
from tests.unit.trading.account import PRICES, RATES, RULES, D, a_fill

START = D(100_000)
fills = st.lists(
    st.tuples(
        st.sampled_from(sorted(RULES)),
        st.sampled_from(list(Side)),
        st.integers(1, 500),
        st.integers(9_000, 11_000),  # of the last price, in hundredths of a percent
        st.integers(-100, 1_000),  # fee in cents
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(fills)
def test_equity_is_the_start_plus_what_was_earned_less_fees(
    trades: list[tuple[InstrumentId, Side, int, int, int]],
) -> None:
    holdings = Holdings("main", {"USD": START})
    for number, (instrument, side, lots, price, fee) in enumerate(trades):
        rules = RULES[instrument]
        fill = a_fill(
            instrument,
            side,
            lots * rules.lot,
            price=PRICES[instrument] * price / 10_000,
            fee=Decimal(fee) / 100,
            id=f"f{number}",
        )
        holdings, _ = holdings.after(fill, currency=rules.currency, dust=rules.lot)
    equity = holdings.equity(PRICES, {i: r.currency for i, r in RULES.items()}, RATES)
    earned = sum((p.realised + p.unrealised(PRICES[i]) - p.fees for i, p in holdings.positions.items()), D(0))
    assert abs(equity - START - earned) < D("1e-9")
