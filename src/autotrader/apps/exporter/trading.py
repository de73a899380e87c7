"""Of the trader, what it leaves in the database: is it to run, does its breaker halt it, what differs."""

from __future__ import annotations

from collections import Counter

from autotrader.apps.exporter.reading import Reading
from autotrader.domain.trading import Cause, DiscrepancyKind, RunStatus
from autotrader.ports.trading import Page, TradingRecords


class Trading:
    """Reads the records of one account."""

    def __init__(self, records: TradingRecords, account: str) -> None:
        self._records = records
        self._account = account

    def read(self, reading: Reading) -> None:
        """Add what is recorded; of an account that was never traded, that no trader is expected.

        Raises
        ------
        Unreachable
            If the database does not answer.
        """
        state = self._records.state(self._account)
        is_wanted = state is not None and state.status is RunStatus.RUNNING
        reading.add("service_expected", is_wanted, service="trader")
        if state is None:
            return
        tripped = any(restriction.cause.is_breaker for restriction in state.restrictions)
        reading.add("trading_circuit_breaker_active", tripped)
        found: Counter[DiscrepancyKind] = Counter()
        # The restriction stands until agreement or a person ends it; the newest recovery says what it is of.
        if any(restriction.cause is Cause.RECONCILIATION for restriction in state.restrictions):
            for recovery in self._records.recoveries(self._account, Page(limit=1)):
                found.update(discrepancy.kind for discrepancy in recovery.discrepancies)
        for kind in DiscrepancyKind:
            reading.add("trading_position_mismatches", found[kind], kind=kind.value)
