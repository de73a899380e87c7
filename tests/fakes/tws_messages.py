"""The long messages about orders, field by field, as a gateway of server version 176 sends them."""

from __future__ import annotations

from typing import Any

UNSET = "1.7976931348623157E308"


def stock(order: dict[str, Any]) -> list[object]:
    """Contract fields, as most messages order them."""
    symbol = order["symbol"]
    return [
        order["con_id"],
        symbol,
        "STK",
        "",
        0,
        "",
        "",
        order.get("exchange", "SMART"),
        "USD",
        symbol,
        "NMS",
    ]


def _terms(order: dict[str, Any]) -> list[object]:
    return [order["action"], order["quantity"], order["type"], order["limit"], 0.0, "DAY", ""]


def open_order(order: dict[str, Any]) -> list[object]:
    return [
        *(5, order["number"], *stock(order), *_terms(order)),
        *(order["account"], "", 0, order["ref"], order["client_id"], order["perm_id"]),
        *(0, 0, 0, "", "", "", "", "", ""),  # hours, allocation
        *("", "", "", "", "", 0, "", -1, 0),  # model, good till, settling, short sale
        *("", "", "", "", "", 0, 0, 0, 0, ""),  # auction, size shown
        *(3, 0, 0, "", 0, 0, "", 0, "", ""),  # group, parent, volatility
        *(0, 0, "", "", "", "", ""),  # trailing
        *(0, 0, 0),  # legs
        *("", "", ""),  # scale
        "",  # hedge
        *(0, "", "IB", 0, 0),  # clearing
        "",  # algorithm
        *(0, 0, order["status"], *[UNSET] * 9, "", "", "", "", "", 0, 0),  # state
        0,  # conditions
        *("None", UNSET, "", UNSET, UNSET, UNSET, UNSET, 0, "", "", "", "", 0, 0, 0, 0),  # adjustment
        *("", "", 0),  # duration
        *[""] * 5,  # pegs
    ]


def completed_order(order: dict[str, Any]) -> list[object]:
    return [
        *(101, *stock(order), *_terms(order)),
        *(order["account"], "", 0, order["ref"], order["perm_id"]),
        *(0, 0, 0, "", "", "", "", ""),  # hours, allocation
        *("", "", "", "", "", 0, "", -1),  # model, good till, settling, short sale
        *("", "", "", "", "", 0, 0, 0, "", 3, 0, "", 0, "", ""),  # size shown, group, volatility
        *(0, 0, "", "", ""),  # trailing
        *(0, 0, 0),  # legs
        *("", "", ""),  # scale
        "",  # hedge
        *("", "IB", 0, 0),  # clearing
        "",  # algorithm
        *(0, order["status"], 0, 0),  # state
        0,  # conditions
        *("", "", "", 0, 0, "", order["filled"], 0, 0, "", 0, 0, 0),  # what it came to
        *("20240226-15:00:00 UTC", order["said"]),
        *[""] * 5,  # pegs
    ]


def order_status(order: dict[str, Any]) -> list[object]:
    left = order["quantity"] - order["filled"]
    return [
        3,
        order["number"],
        order["status"],
        order["filled"],
        left,
        0,
        order["perm_id"],
        0,
        0,
        order["client_id"],
        "",
        0,
    ]
