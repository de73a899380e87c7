"""A stand-in for OANDA's v20 REST API: candles and an account over HTTP, can be told to misbehave.

In a test:

    with OandaServer({"EUR_USD": bars}) as server:
        OandaSettings(rest_url=server.url, token=server.token)
        server.misbehave(Fault.THROTTLED, times=2)

As a process, which prints one JSON line with its URL when it listens:

    python -m tests.fakes.oanda_server --port 0 --bars FOLDER_OR_PARQUET
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

import polars as pl

from tests.fakes import oanda_routes
from tests.fakes.http_server import Handler
from tests.fakes.oanda_account import OandaAccount

TOKEN = "stand-in-token"
ACCOUNT = "101-004-1234567-001"
MAXIMUM_CANDLES = 5000
GRANULARITY_SECONDS = {"M1": 60, "M5": 300, "M15": 900, "H1": 3600, "D": 86_400}
SIDES = {"mid": "M", "bid": "B", "ask": "A"}
PRICES = {"o": "open", "h": "high", "l": "low", "c": "close"}


class Fault(StrEnum):
    """How one request for candles goes wrong."""

    THROTTLED = "throttled"  # 429
    SERVER_ERROR = "server-error"  # 500
    HTML = "html"  # 200, but a proxy's page
    TRUNCATED = "truncated"  # JSON cut in the middle
    DISCONNECT = "disconnect"  # the socket closes without an answer
    SILENT = "silent"  # the answer takes longer than anyone waits
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out-of-order"
    NAN = "nan"  # a price that is not a number
    NEGATIVE = "negative"
    INCOMPLETE = "incomplete"  # the candle in progress comes along


class OandaServer:
    """The API on loopback, in threads of its own.

    Parameters
    ----------
    bars : Mapping[str, pl.DataFrame]
        Instrument to one-minute bars: `ts`, `open`, `high`, `low`, `close`, and optionally
        `volume`, `bid_open` ... `ask_close` (else a spread of 0.0001 is made).
    now : datetime or None
        The venue's time; None is UTC now. A later `to` is refused, as the venue does.
    book : OandaAccount or None
        What orders go to; None takes none.
    """

    def __init__(
        self,
        bars: Mapping[str, pl.DataFrame],
        *,
        port: int = 0,
        now: datetime | None = None,
        book: OandaAccount | None = None,
    ) -> None:
        self.token = TOKEN
        self.account = ACCOUNT
        self.book = book
        self.requests: list[str] = []
        self._bars = {name: _quotes(frame) for name, frame in bars.items()}
        self._now = now
        self._faults: deque[Fault] = deque()
        self._always: Fault | None = None
        self.released = threading.Event()
        self._http = _Http(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def misbehave(self, fault: Fault, *, times: int = 1) -> None:
        """Let the next requests for candles go wrong, in the order told."""
        self._faults.extend([fault] * times)

    def misbehave_always(self, fault: Fault | None) -> None:
        """Let every request for candles go wrong, until told None."""
        self._always = fault

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        if self.book is not None:
            self.book.end_streams()
        self._http.shutdown()
        self._http.server_close()

    def next_fault(self) -> Fault | None:
        return self._faults.popleft() if self._faults else self._always

    def candles(self, instrument: str, query: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        """Status and body of a request for candles."""
        now = self._now or datetime.now(UTC)
        if instrument not in self._bars:
            return 400, {"errorMessage": "Invalid value specified for 'instrument'"}
        seconds = GRANULARITY_SECONDS.get(query.get("granularity", ""))
        if seconds is None:
            return 400, {"errorMessage": "Invalid value specified for 'granularity'"}
        bars = _merge(self._bars[instrument], seconds)
        if "from" in query and "to" in query:
            start, end = (datetime.fromisoformat(query[name]) for name in ("from", "to"))
            if end > now:
                return 400, {"errorMessage": "Invalid value specified for 'to'. Time is in the future"}
            if (end - start).total_seconds() / seconds > MAXIMUM_CANDLES:
                return 400, {"errorMessage": "Maximum value for 'count' exceeded"}
            bars = bars.filter(pl.col("ts") >= start, pl.col("ts") <= end)
        else:
            count = int(query.get("count", "500"))
            if count > MAXIMUM_CANDLES:
                return 400, {"errorMessage": "Maximum value for 'count' exceeded"}
            bars = bars.filter(pl.col("ts") <= now).tail(count)
        sides = [name for name, letter in SIDES.items() if letter in query.get("price", "M")]
        rows = [_candle(row, sides, seconds, now) for row in bars.iter_rows(named=True)]
        return 200, {"instrument": instrument, "granularity": query["granularity"], "candles": rows}


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], venue: OandaServer) -> None:
        self.venue = venue
        super().__init__(address, _Handler)


class _Handler(Handler):
    protocol_version = "HTTP/1.1"

    def respond(self) -> None:
        venue = cast("_Http", self.server).venue
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        venue.requests.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {venue.token}":
            self.answer_json(401, {"errorMessage": "Insufficient authorization to perform request."})
        elif url.path == "/v3/accounts":
            self.answer_json(200, {"accounts": [{"id": venue.account, "tags": []}]})
        elif url.path == f"/v3/accounts/{venue.account}/summary":
            self.answer_json(
                200, {"account": {"id": venue.account, "currency": "USD"}, "lastTransactionID": "1"}
            )
        elif venue.book and (asked := oanda_routes.account_path(url.path)) and asked[0] == venue.book.id:
            if told := oanda_routes.answer(venue.book, self, asked[1], query):
                status, body, headers = told
                self.answer_json(status, body, headers=headers)
        elif match := re.fullmatch(r"/v3/instruments/([^/]+)/candles", url.path):
            self._candles(venue, unquote(match[1]), query)
        elif url.path.startswith("/v3/accounts/"):
            self.answer_json(403, {"errorMessage": "Insufficient authorization to perform request."})
        else:
            self.answer_json(404, {"errorMessage": "Unknown path"})

    def _candles(self, venue: OandaServer, instrument: str, query: Mapping[str, str]) -> None:
        fault = venue.next_fault()
        status, body = venue.candles(instrument, query)
        match fault:
            case Fault.THROTTLED:
                self.answer_json(
                    429, {"errorMessage": "Rate limit exceeded"}, headers={"Retry-After": "0.05"}
                )
            case Fault.SERVER_ERROR:
                self.answer_json(500, {"errorMessage": "Internal server error"})
            case Fault.HTML:
                self.answer(200, b"<html><body>Maintenance</body></html>", kind="text/html")
            case Fault.TRUNCATED:
                whole = json.dumps(body).encode()
                self.answer(200, whole[: len(whole) // 2], kind="application/json")
            case Fault.DISCONNECT:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
            case Fault.SILENT:
                venue.released.wait(30)
                self.close_connection = True
            case _:
                if status == 200:
                    candles = cast("list[dict[str, Any]]", body["candles"])
                    body["candles"] = _spoil(candles, fault)
                self.answer_json(status, body)


def _quotes(frame: pl.DataFrame) -> pl.DataFrame:
    """Bars with mid, bid and ask of each price."""
    made = [
        (pl.col(price) + sign * 0.00005).alias(f"{side}_{price}")
        for side, sign in (("bid", -1), ("ask", 1))
        for price in PRICES.values()
        if f"{side}_{price}" not in frame.columns
    ]
    volume = pl.col("volume").fill_null(1) if "volume" in frame.columns else pl.lit(1).alias("volume")
    ts = pl.col("ts").cast(pl.Datetime("us", "UTC"))
    mids = [pl.col(price).alias(f"mid_{price}") for price in PRICES.values()]
    return frame.with_columns(ts, volume, *made, *mids).sort("ts")


def _merge(bars: pl.DataFrame, seconds: int) -> pl.DataFrame:
    if seconds == 60:
        return bars
    reduce = {"open": pl.Expr.first, "high": pl.Expr.max, "low": pl.Expr.min, "close": pl.Expr.last}
    columns = [reduce[price](pl.col(f"{side}_{price}")) for side in SIDES for price in PRICES.values()]
    return bars.group_by_dynamic("ts", every=f"{seconds}s").agg(*columns, pl.col("volume").sum())


def _candle(row: Mapping[str, Any], sides: list[str], seconds: int, now: datetime) -> dict[str, Any]:
    candle = {
        "complete": row["ts"] + timedelta(seconds=seconds) <= now,
        "volume": int(row["volume"]),
        "time": row["ts"].strftime("%Y-%m-%dT%H:%M:%S.000000000Z"),
    }
    for side in sides:
        candle[side] = {letter: f"{row[f'{side}_{price}']:.6f}" for letter, price in PRICES.items()}
    return candle


def _spoil(candles: list[dict[str, Any]], fault: Fault | None) -> list[dict[str, Any]]:
    if not candles or fault is None:
        return candles
    last = candles[-1]
    match fault:
        case Fault.DUPLICATE:
            return [*candles, last]
        case Fault.OUT_OF_ORDER:
            return [last, *candles[:-1]]
        case Fault.NAN:
            return [*candles[:-1], {**last, "mid": {**last["mid"], "o": "NaN"}}]
        case Fault.NEGATIVE:
            return [*candles[:-1], {**last, "mid": {**last["mid"], "l": "-1"}}]
        case Fault.INCOMPLETE:
            return [*candles[:-1], {**last, "complete": False}]
        case _:
            return candles


def read_bars(path: Path) -> dict[str, pl.DataFrame]:
    """Instrument (`EURUSD` becomes `EUR_USD`) to bars, from a Parquet file or a folder's one-minute ones."""
    files = sorted(path.glob("*_1m_*.parquet")) if path.is_dir() else [path]
    frames = {pl.read_parquet(file, columns=["instrument"])[0, 0]: pl.read_parquet(file) for file in files}
    return {f"{name[:3]}_{name[3:]}": frame for name, frame in frames.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for OANDA's REST API on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bars", type=Path, required=True, help="Parquet file, or folder of *_1m_*.parquet")
    parser.add_argument("--fault", type=Fault, choices=list(Fault), help="how every request goes wrong")
    arguments = parser.parse_args()
    bars = read_bars(arguments.bars)
    with OandaServer(bars, port=arguments.port) as server:
        server.misbehave_always(arguments.fault)
        ready = {
            "url": server.url,
            "token": server.token,
            "account": server.account,
            "instruments": sorted(bars),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
