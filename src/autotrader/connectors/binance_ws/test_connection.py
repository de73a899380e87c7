"""Ask Binance for the time."""

from __future__ import annotations

from autotrader import command
from autotrader.connectors.connection import report_connection
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import MarketDataSources


def test_connection(*, sources: MarketDataSources) -> command.Result:
    """Say whether Binance answers, how fast, and how far its clock is from ours.

    Exit code 3 if it does not answer.
    """
    return report_connection(Venue.BINANCE, sources)


if __name__ == "__main__":
    raise SystemExit(command.run(test_connection))
