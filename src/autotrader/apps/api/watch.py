"""What is new in the database since the last look."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from autotrader.apps.api.bodies import EventBody, FillBody
from autotrader.apps.api.reading import positions_of
from autotrader.apps.api.stream import Happening
from autotrader.domain.orders import Fill
from autotrader.ports.clock import WallClock
from autotrader.ports.events import EventLog, EventType
from autotrader.ports.trading import AccountState, Page, TradingRecords

T = TypeVar("T")

FIRST_FILLS = 500  # that the first look takes for known
FILLS = 100  # a page, of which later looks find few that are new
ALERTS = 500  # a page
REMEMBERED = 20_000  # keys of fills and of alerts: as many as a look reads
# An alert may be recorded later than it says; one that comes later than this is in the list alone.
ALERT_DELAY = timedelta(minutes=10)


class Watch:
    """Positions, fills and alerts, by difference to what was there before.

    Rows are recognised by their keys rather than by a growing number: a fill that a recovery adopts
    is older than those that were seen, and PostgreSQL's numbers do not become visible in their order.

    Parameters
    ----------
    records : TradingRecords
    events : EventLog
    clock : WallClock
    """

    def __init__(self, records: TradingRecords, events: EventLog, clock: WallClock) -> None:
        self._records = records
        self._events = events
        self._clock = clock
        self._is_first = True
        self._told: list[Happening] = []
        self._revisions: dict[str, int] = {}
        self._positions: dict[str, dict[str, dict[str, Any]]] = {}
        self._fills: dict[str, _Seen] = {}
        self._alerts = _Seen()
        self._alerts_since = clock.now() - ALERT_DELAY

    def look(self) -> Sequence[Happening]:
        """What happened since the last call; of the first, nothing.

        Raises
        ------
        Unreachable
            If the database does not answer; what was found by then is told by the next call.
        """
        for state in self._records.accounts():
            if self._revisions.get(state.account) != state.revision:
                self._look_at(state)
        self._look_for_alerts()
        told, self._told = self._told, []
        if self._is_first:
            self._is_first = False
            return ()
        return told

    def _look_at(self, state: AccountState) -> None:
        account = state.account
        # All is read before any of it is remembered: an outage in between must lose nothing.
        seen = self._fills.get(account, _Seen())
        fills = self._unseen_fills(account, seen)
        positions = {p.instrument: p.model_dump(mode="json") for p in positions_of(self._records, account)}
        before = self._positions.get(account, {})
        self._told += [
            Happening("fill", account, FillBody.model_validate(fill).model_dump(mode="json"))
            for fill in reversed(fills)
        ]
        known = {
            "account": account,
            "revision": state.revision,
            "market_time": state.cursor.isoformat() if state.cursor else None,
        }
        self._told += [
            Happening("position", account, known | row)
            for name, row in positions.items()
            if row != before.get(name)
        ]
        seen.add([_key(fill) for fill in fills])
        self._fills[account] = seen
        self._positions[account] = positions
        self._revisions[account] = state.revision

    def _unseen_fills(self, account: str, seen: _Seen) -> list[Fill]:
        """Newest first."""
        if self._is_first:
            return list(self._records.fills(account, Page(limit=FIRST_FILLS)))
        return _unseen(
            lambda offset: self._records.fills(account, Page(limit=FILLS, offset=offset)), FILLS, _key, seen
        )

    def _look_for_alerts(self) -> None:
        now = self._clock.now()
        since = self._alerts_since
        new = _unseen(
            lambda offset: self._events.recent(
                type=EventType.ALERT, start=since, limit=ALERTS, offset=offset
            ),
            ALERTS,
            lambda event: event.key,
            self._alerts,
        )
        self._told += [
            Happening("alert", None, EventBody.model_validate(event).model_dump(mode="json"))
            for event in reversed(new)
        ]
        self._alerts.add([event.key for event in new])
        self._alerts_since = now - ALERT_DELAY


class _Seen:
    """The newest keys, up to a number of them."""

    def __init__(self) -> None:
        self._keys: dict[Hashable, None] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def add(self, keys: Sequence[Hashable]) -> None:
        self._keys.update(dict.fromkeys(reversed(keys)))
        for key in list(self._keys)[: max(len(self._keys) - REMEMBERED, 0)]:
            del self._keys[key]


def _unseen(
    page_from: Callable[[int], Sequence[T]], size: int, key_of: Callable[[T], Hashable], seen: _Seen
) -> list[T]:
    """Of rows that come newest first, those before a page in which some are known; newest first."""
    unseen: dict[Hashable, T] = {}  # by key: a row that is inserted meanwhile moves another to the next page
    for number in range(REMEMBERED // size):
        page = {key_of(row): row for row in page_from(number * size)}
        new = {key: row for key, row in page.items() if key not in seen}
        unseen |= new
        if len(new) < size:
            break
    return list(unseen.values())


def _key(fill: Fill) -> tuple[str, str]:
    return str(fill.instrument), fill.fill_id
