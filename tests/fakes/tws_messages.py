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


def open_order(order: dict[str, Any]) -> list[object]:
    about = [order["action"], order["quantity"], order["type"], order["limit"], 0.0, "DAY", ""]
    who = [order["account"], "", 0, order["ref"], order["client_id"], order["perm_id"]]
    algorithm = [0, 0, 0, "", "", "", "", "", "", "", "", "", "", "", 0, "", -1, 0, "", "", "", "", "", 0]
    flags = [0, 0, 0, "", 3, 0, 0, "", 0, 0, "", 0, "None", "", 0, 0, "", "", "", "", ""]
    legs = [0, 0, 0, "", "", "", "", 0, "", "IB", 0, 0, "", 0, 0]
    state = [order["status"], *[UNSET] * 9, "", "", "", "", "", 0, 0, 0]
    tail = ["None", UNSET, "", "", UNSET, UNSET, "", 0, "", "", "", 0, 0, 0, 0, 0, "", "", 0]
    return [
        5,
        order["number"],
        *stock(order),
        *about,
        *who,
        *algorithm,
        *flags,
        *legs,
        *state,
        *tail,
        *[""] * 5,
    ]


def completed_order(order: dict[str, Any]) -> list[object]:
    about = [order["action"], order["quantity"], order["type"], order["limit"], 0.0, "DAY", ""]
    who = [order["account"], "", 0, order["ref"], order["perm_id"]]
    algorithm = [0, 0, 0, "", "", "", "", "", "", "", "", "", "", 0, "", -1, "", "", "", "", "", 0, 0, 0, ""]
    flags = [3, 0, "", 0, "None", "", 0, 0, "", "", "", 0, 0, 0, "", "", "", "", "", "IB", 0, 0, ""]
    state = [0, order["status"], 0, 0, 0]
    tail = ["", "", "", 0, 0, "", order["filled"], 0, 0, "", 0, 0, 0, "20240226-15:00:00 UTC", order["said"]]
    return [101, *stock(order), *about, *who, *algorithm, *flags, *state, *tail, *[""] * 5]


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
