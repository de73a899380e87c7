"""Is OANDA there, and does it let us in?"""

from __future__ import annotations

from autotrader import command
from autotrader.connectors.connection import report_connection
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import MarketDataSources


def test_connection(*, sources: MarketDataSources) -> command.Result:
    """Test the connection to OANDA: list the token's accounts."""
    return report_connection(Venue.OANDA, sources)


if __name__ == "__main__":
    raise SystemExit(command.run(test_connection))
