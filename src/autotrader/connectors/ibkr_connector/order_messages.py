"""Orders, executions and holdings from the gateway's message fields; needs no connection.

Fields are read by their place, so that quantities and prices stay the decimals that were sent. The
places hold for server versions 157 to 178, which is what both client libraries agree on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import ZERO, OrderStatus, Side

# Message ids, the first field of each message from the gateway.
ORDER_STATUS = "3"
OPEN_ORDER = "5"
ACCOUNT_VALUE = "6"
NEXT_VALID_ID = "9"
EXECUTION = "11"
OPEN_ORDERS_END = "53"
ACCOUNT_END = "54"
EXECUTIONS_END = "55"
COMMISSION = "59"
POSITION = "61"
POSITIONS_END = "62"
COMPLETED_ORDER = "101"
COMPLETED_ORDERS_END = "102"

# The order is at the venue; before that the gateway answers PendingSubmit or ApiPending.
WORKING = frozenset({"PreSubmitted", "Submitted", "PendingCancel"})
ENDED = {
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.CANCELLED,
    "ApiCancelled": OrderStatus.CANCELLED,
    "Inactive": OrderStatus.REJECTED,
}

_UNSET = Decimal("1e300")
_ORDER_TAIL_VERSION = 170
_DETAILS_SIZES_VERSION = 164
_CASH = "TotalCashBalance"
_ALL_CURRENCIES = "BASE"


@dataclass(frozen=True, slots=True)
class StatedOrder:
    """An order as an open-order or completed-order message states it.

    Attributes
    ----------
    order_id, client_id : int or None
        Which client made it, and its number there; None for completed orders, which have lost it.
    perm_id : int
        The venue's number; 0 before the venue has the order.
    ref : str or None
        Our client order id.
    filled : Decimal or None
        None where the message does not say.
    ended : OrderStatus or None
        None while it works.
    """

    order_id: int | None
    client_id: int | None
    perm_id: int
    account: str
    ref: str | None
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    filled: Decimal | None = None
    ended: OrderStatus | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """A trade of the account.

    Attributes
    ----------
    exec_id : str
        Its last part numbers the corrections of one trade: `0000e0d5.6576fd38.01.01`.
    """

    exec_id: str
    account: str
    perm_id: int
    ref: str | None
    con_id: int
    instrument: InstrumentId
    currency: str
    side: Side
    quantity: Decimal
    price: Decimal
    at: datetime

    @property
    def trade(self) -> str:
        """What all corrections of one trade have in common."""
        return self.exec_id.rpartition(".")[0] or self.exec_id


@dataclass(frozen=True, slots=True)
class Contract:
    """A stock, as the venue numbers it, and its rules."""

    con_id: int
    rules: InstrumentRules


def instrument_of(symbol: str, kind: str, currency: str) -> InstrumentId:
    """US stocks by their symbol; anything else by a name that none of them has."""
    plain = kind == "STK" and currency == "USD"
    return InstrumentId(Venue.IBKR, symbol if plain else f"{symbol}.{kind}.{currency}")


def open_order(fields: list[str]) -> StatedOrder:
    return StatedOrder(
        order_id=int(fields[1]),
        client_id=int(fields[24] or 0),
        perm_id=int(fields[25] or 0),
        account=fields[20],
        ref=fields[23] or None,
        instrument=instrument_of(fields[3], fields[4], fields[10]),
        side=_side(fields[13]),
        quantity=Decimal(fields[14]),
    )


def completed_order(fields: list[str], server_version: int) -> StatedOrder:
    """An order that is over. What it came to is told in words: `Filled Size: 100`."""
    end = len(fields) - (5 if server_version >= _ORDER_TAIL_VERSION else 0)
    said, filled = fields[end - 1], _number(fields[end - 9]) or ZERO
    quantity = Decimal(fields[13])
    if filled >= quantity or said.startswith("Filled"):
        ended, reason = OrderStatus.FILLED, ""
    elif "reject" in said.lower():
        ended, reason = OrderStatus.REJECTED, said
    else:
        ended, reason = OrderStatus.CANCELLED, said
    return StatedOrder(
        order_id=None,
        client_id=None,
        perm_id=int(fields[23] or 0),
        account=fields[19],
        ref=fields[22] or None,
        instrument=instrument_of(fields[2], fields[3], fields[9]),
        side=_side(fields[12]),
        quantity=quantity,
        filled=filled,
        ended=ended,
        reason=reason,
    )


def execution(fields: list[str]) -> Execution:
    return Execution(
        exec_id=fields[14],
        account=fields[16],
        perm_id=int(fields[21] or 0),
        ref=fields[26] or None,
        con_id=int(fields[3]),
        instrument=instrument_of(fields[4], fields[5], fields[11]),
        currency=fields[11],
        side=_side(fields[18]),
        quantity=Decimal(fields[19]),
        price=Decimal(fields[20]),
        at=_time(fields[15]),
    )


def commission(fields: list[str]) -> tuple[str, Decimal, str] | None:
    """Execution id, fee and its currency; None where the venue does not know the fee yet."""
    fee = _number(fields[3])
    return None if fee is None else (fields[2], fee, fields[4])


def units_by_contract(rows: Iterable[list[str]], account: str) -> dict[int, Decimal]:
    """Units of each contract by its number, from the rows of one whole cycle of positions.

    The venue may list a contract more than once: under two exchanges, or again because it changed
    while the list was being sent. These are one position told twice, never two: the last row counts.
    """
    return {int(row[3]): Decimal(row[14]) for row in rows if row[2] == account}


def cash(rows: Iterable[list[str]], account: str) -> dict[str, Decimal]:
    """Cash by currency; the row that sums all of them up is left out."""
    return {
        row[4]: Decimal(row[3])
        for row in rows
        if row[2] == _CASH and row[5] == account and row[4] != _ALL_CURRENCIES
    }


def contract(fields: list[str], server_version: int) -> Contract:
    """A US stock from its contract details.

    The lot is one share at least: the details of many stocks tell steps of 0.0001, but fractions are
    refused from API clients. Whether there is anything to borrow is known at the time of the order
    only, so no stock is called shortable.
    """
    sized = server_version >= _DETAILS_SIZES_VERSION
    con_id, tick = (fields[12], fields[13]) if sized else (fields[13], fields[14])
    step = Decimal(fields[-2]) if sized else Decimal(1)
    rules = InstrumentRules(
        tick=Decimal(tick), lot=max(Decimal(1), step), minimum_notional=ZERO, currency="USD"
    )
    return Contract(int(con_id), rules)


def _side(text: str) -> Side:
    match text:
        case "BUY" | "BOT":
            return Side.BUY
        case "SELL" | "SSHORT" | "SLD":
            return Side.SELL
    raise ValueError(f"expected a side, was {text!r}")


def _number(text: str) -> Decimal | None:
    """None for the venue's way to say that a number is not set: empty, or the largest double."""
    value = Decimal(text) if text else _UNSET
    return None if value >= _UNSET else value


def _time(text: str) -> datetime:
    """`20240226-14:30:00` is UTC, `20240226 09:30:00 US/Eastern` names its zone."""
    day, _, rest = text.partition(" ")
    if not rest and "-" in day:
        return datetime.strptime(day, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    clock, _, zone = rest.strip().partition(" ")
    if not zone:
        raise ValueError(
            f"expected a time with its zone, was {text!r}: let the gateway send times in UTC "
            "(API settings, 'Send instrument-specific attributes ... in': UTC format)"
        )
    local = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S").replace(tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)
