"""Executions, mailed together: one letter an account and interval of market time, never one a fill.

Where it stands is read from the letters themselves: the newest says until when executions were told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import structlog

from autotrader.alerts.postbox import Postbox, Posted
from autotrader.alerts.reports import EXECUTION_STAMP, execution_prefix, trade_execution
from autotrader.ports.trading import AccountState, Page, TradingRecords, every_row

log = structlog.get_logger(__name__)

_FIRST = timedelta(days=1)  # that the first letter looks back
_STAMP = re.compile(r"\d{8}T\d{6}Z")


def post_digests(
    records: TradingRecords, postbox: Postbox, *, interval: timedelta, now: datetime
) -> list[Posted]:
    """Mail what each account executed since its last letter, up to the last whole interval.

    Asked again within the interval it finds nothing new, whoever asks. A fill that becomes known after
    its interval was told is in no digest; the recovery that adopted it has a letter of its own.

    Parameters
    ----------
    now : datetime
        Market time, UTC.
    """
    end = datetime.fromtimestamp(now.timestamp() // interval.total_seconds() * interval.total_seconds(), UTC)
    return [one for state in records.accounts() for one in _post(state, records, postbox, end)]


def _post(state: AccountState, records: TradingRecords, postbox: Postbox, end: datetime) -> Iterator[Posted]:
    start = _told_until(postbox, state.account) or end - _FIRST
    if start >= end:
        return
    page = Page(start=start, end=end)
    # Without a quantity it is money that something cost: no trade.
    fills = [fill for fill in every_row(records.fills, state.account, page) if fill.quantity]
    if not fills:
        return
    trades = list(every_row(records.trades, state.account, page))
    letter = trade_execution(state.account, fills, trades, start=start, end=end, source=state.source)
    for posted in postbox.post(letter):
        log.info("executions mailed", key=posted.key, to=posted.recipient, state=posted.state.value)
        yield posted


def _told_until(postbox: Postbox, account: str) -> datetime | None:
    prefix = execution_prefix(account)
    # Another account's name may begin with this one's.
    newest = postbox.newest_key(prefix, pattern=_STAMP)
    if newest is None:
        return None
    return datetime.strptime(newest.removeprefix(prefix), EXECUTION_STAMP).replace(tzinfo=UTC)
