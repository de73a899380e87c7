"""Is a gateway logged on for us? IB's password lives in the gateway, not in our settings."""

from __future__ import annotations

from autotrader.domain.instruments import Venue
from autotrader.ports.credentials import CredentialReport, CredentialState
from autotrader.ports.market_data import MarketDataSources


class IbkrCredential:
    """Checks that TWS or Gateway lets this client in.

    Parameters
    ----------
    sources : MarketDataSources
    required : bool
        True where the pipelines use the venue; without it nothing is connected to.
    """

    name = "ibkr"

    def __init__(self, sources: MarketDataSources, *, required: bool) -> None:
        self._sources = sources
        self._required = required

    async def verify(self) -> CredentialReport:
        """Log on once."""
        if not self._required:
            return self._report(CredentialState.UNUSED, "the venue is not among AUTOTRADER_VENUES")
        source = self._sources(Venue.IBKR)
        try:
            found = await source.test_connection()
        finally:
            await source.aclose()
        return self._report(CredentialState.FINE if found.ok else CredentialState.UNREACHABLE, found.reason)

    def _report(self, state: CredentialState, reason: str) -> CredentialReport:
        return CredentialReport(self.name, state, reason)
