"""A stand-in for Binance's signed account endpoints: checks keys and signatures as the venue does."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self, cast
from urllib.parse import parse_qs, urlsplit

KEY = "stand-in-key"
SECRET = "stand-in-secret"


class BinanceAccount:
    """The account of one key on loopback.

    Attributes
    ----------
    permissions : dict[str, bool] or None
        What `/sapi/v1/account/apiRestrictions` answers; None is 404, as on a test net.
    clock_lead_ms : int
        How far the venue's clock is ahead of ours.
    status : int or None
        Answer every request with this HTTP status instead.
    """

    def __init__(self) -> None:
        self.permissions: dict[str, bool] | None = {
            "ipRestrict": True,
            "enableReading": True,
            "enableWithdrawals": False,
            "enableSpotAndMarginTrading": True,
        }
        self.clock_lead_ms = 0
        self.status: int | None = None
        self._http = _Http(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str, query: str, key: str | None) -> tuple[int, object]:
        """Status and body of a signed GET."""
        if self.status is not None:
            return self.status, {"code": -1000, "msg": "told to"}
        if key != KEY:
            return 401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
        signed, _, signature = query.partition("&signature=")
        expected = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, expected):
            return 400, {"code": -1022, "msg": "Signature for this request is not valid."}
        asked = {name: int(values[0]) for name, values in parse_qs(signed).items()}
        now = time.time() * 1000 + self.clock_lead_ms
        if abs(now - asked["timestamp"]) > asked["recvWindow"]:
            return 400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}
        if path == "/api/v3/account":
            return 200, {"canTrade": True, "canWithdraw": True, "accountType": "SPOT", "balances": []}
        if path == "/sapi/v1/account/apiRestrictions" and self.permissions is not None:
            return 200, self.permissions
        return 404, {"code": -1, "msg": "no such path"}


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], account: BinanceAccount) -> None:
        self.account = account
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        account = cast("_Http", self.server).account
        status, body = account.answer(url.path, url.query, self.headers.get("X-MBX-APIKEY"))
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
