"""Which path of v20 REST asks the stand-in's account for what."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import unquote

from tests.fakes.http_server import Handler
from tests.fakes.oanda_account import AccountFault, Json, OandaAccount

_ABOUT = {
    "type": "CURRENCY",
    "pipLocation": -4,
    "displayPrecision": 5,
    "tradeUnitsPrecision": 0,
    "minimumTradeSize": "1",
    "marginRate": "0.05",
    "financing": {"longRate": "0.0073", "shortRate": "-0.0146"},
}


def answer(
    account: OandaAccount, handler: Handler, rest: str, query: Mapping[str, str]
) -> tuple[int, Json, dict[str, str]] | None:
    """Status, body and headers for a path below the account's; None where the answer was written, or
    is withheld."""
    if account.takes(AccountFault.THROTTLED):
        return 429, {"errorMessage": "Rate limit exceeded"}, {"Retry-After": "1"}
    match [handler.command, *rest.split("/")]:
        case ["GET", ""]:
            return 200, account.details(), {}
        case ["GET", "instruments"]:
            return (*_instruments(account, query["instruments"].split(",")), {})
        case ["GET", "transactions"]:
            return 200, _pages(account, query), {}
        case ["GET", "transactions", "idrange"]:
            found = account.between(int(query["from"]), int(query["to"]), query.get("type"))
            return 200, {"transactions": found, "lastTransactionID": account.last}, {}
        case ["GET", "transactions", "stream"]:
            _stream(account, handler)
            return None
        case ["GET", "transactions", number]:
            return 200, {"transaction": account.transactions[int(number) - 1]}, {}
        case ["PUT", "orders", specifier, "cancel"]:
            return (*account.cancel(unquote(specifier)), {})
        case ["POST", "orders"]:
            return _order(account, handler)
    return 404, {"errorMessage": "Unknown path"}, {}


def _order(account: OandaAccount, handler: Handler) -> tuple[int, Json, dict[str, str]] | None:
    request = json.loads(handler.sent())["order"]
    if account.takes(AccountFault.LOST_REQUEST):
        return _cut(handler, b"")
    status, said = account.place(request)
    match account.takes(AccountFault.LOST_ANSWER, AccountFault.BROKEN_ANSWER, AccountFault.SERVER_ERROR):
        case AccountFault.LOST_ANSWER:
            return _cut(handler, b"")
        case AccountFault.BROKEN_ANSWER:
            half = json.dumps(said).encode()[:40]
            return _cut(handler, b"HTTP/1.1 201 Created\r\nContent-Length: 40\r\n\r\n" + half)
        case AccountFault.SERVER_ERROR:
            return 503, {"errorMessage": "Service unavailable"}, {}
    return status, said, {}


def _cut(handler: Handler, last_words: bytes) -> None:
    handler.wfile.write(last_words)
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def _instruments(account: OandaAccount, names: list[str]) -> tuple[int, Json]:
    if any(name not in account.prices for name in names):
        return 400, {"errorMessage": "Invalid value specified for 'instruments'"}
    digits = {name: 3 if name.endswith("JPY") else 5 for name in names}
    found = [{**_ABOUT, "name": name, "displayPrecision": digits[name]} for name in names]
    return 200, {"instruments": found, "lastTransactionID": account.last}


def _pages(account: OandaAccount, query: Mapping[str, str]) -> Json:
    found = account.since(datetime.fromisoformat(query["from"]), query.get("type"))
    size = int(query["pageSize"])
    host = "https://elsewhere.example/v3/transactions/idrange"
    groups = [found[start : start + size] for start in range(0, len(found), size)]
    pages = [f"{host}?from={group[0]['id']}&to={group[-1]['id']}" for group in groups]
    return {"pages": pages, "count": len(found), "lastTransactionID": account.last}


def _stream(account: OandaAccount, handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.close_connection = True
    try:
        for said in account.told():
            line = json.dumps(said).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client left


def account_path(path: str) -> tuple[str, str] | None:
    """Account id and the rest of an account's path."""
    found = re.fullmatch(r"/v3/accounts/([^/]+)(?:/(.*))?", path)
    return (found[1], found[2] or "") if found else None
