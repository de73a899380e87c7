"""Which instruments bars come of: when a silent feed is well again, and which the venue has dropped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import ZERO
from autotrader.domain.trading import Cause
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType
from autotrader.trading.accounting import Accounting
from autotrader.trading.bars import Batch
from autotrader.trading.outages import Outages


class FeedWatch:
    """Looks at each batch once its prices are in the book.

    Parameters
    ----------
    accounting : Accounting
    outages : Outages
    instruments : sequence of InstrumentId
        All that are traded.
    clock : WallClock
    actor : str
    """

    def __init__(
        self,
        accounting: Accounting,
        outages: Outages,
        instruments: Sequence[InstrumentId],
        clock: WallClock,
        *,
        actor: str,
    ) -> None:
        self._accounting = accounting
        self._book = accounting.book
        self._outages = outages
        self._instruments = tuple(instruments)
        self._clock = clock
        self._actor = actor
        self._unknown: frozenset[InstrumentId] = frozenset()
        self._silent_since: datetime | None = None  # market time

    def take(self, batch: Batch, before: datetime | None) -> None:
        """Say what is not known any more, and mend the feed where this batch makes it whole.

        Parameters
        ----------
        before : datetime or None
            Close of the batch before; None where there was none.
        """
        self._tell_of_unknown(batch)
        if Cause.FEED not in self._outages.ages():
            self._silent_since = None
            return
        self._silent_since = self._silent_since or before or batch.ts
        if all(self._is_back(instrument, batch) for instrument in self._awaited()):
            self._outages.mend(Cause.FEED)
            self._silent_since = None

    def _awaited(self) -> Sequence[InstrumentId]:
        """What is held has to have a price, whatever the venue says of it."""
        return [i for i in self._instruments if i not in self._unknown or self._held(i)]

    def _held(self, instrument: InstrumentId) -> Decimal:
        """Units, but for dust."""
        units = self._book.quantity(instrument)
        return units if abs(units) >= self._book.rules[instrument].lot else ZERO

    def _is_back(self, instrument: InstrumentId, batch: Batch) -> bool:
        """Whether it had a bar since the silence, and one that is not too old by now."""
        priced_at = self._book.priced_at.get(instrument)
        return (
            priced_at is not None
            and self._silent_since is not None
            and priced_at > self._silent_since
            and instrument in self._book.fresh_prices(batch.closed_at)
        )

    def _tell_of_unknown(self, batch: Batch) -> None:
        for instrument in sorted(batch.unknown.keys() - self._unknown):
            held = self._held(instrument)
            what = f"{held} units are held, without a price" if held else "none is held"
            self._tell(
                instrument,
                batch,
                "critical" if held else "warning",
                f"The venue does not know {instrument} any more: {what} ({batch.unknown[instrument]})",
            )
        for instrument in sorted(self._unknown - batch.unknown.keys()):
            self._tell(instrument, batch, "info", f"The venue knows {instrument} again")
        self._unknown = frozenset(batch.unknown)

    def _tell(self, instrument: InstrumentId, batch: Batch, severity: str, message: str) -> None:
        account = self._accounting.state.account
        self._accounting.tell(
            Event(
                key=f"unknown-{account}-{instrument}-{batch.ts.isoformat()}-{severity}",
                type=EventType.ALERT,
                severity=severity,
                message=message,
                actor=self._actor,
                at=self._clock.now(),
                instrument=str(instrument),
                data={"fingerprint": f"unknown/{account}/{instrument}", "resolved": severity == "info"},
            )
        )
