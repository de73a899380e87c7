"""A stand-in for TWS or IB Gateway: speaks its socket protocol, can be told to misbehave.

It serves bars, and keeps an account where it is given one (`tests.fakes.tws_account`).

In a test:

    with TwsGateway({"AAPL": bars}) as gateway:
        IbkrSettings(port=gateway.port)
        gateway.misbehave(Fault.PACING, times=2)

As a process, which prints one JSON line with its port when it listens:

    python -m tests.fakes.tws_gateway --port 0 --bars FOLDER_OR_PARQUET

Messages are NUL-terminated fields behind a length of four bytes, at server version 176, the newest
that both client libraries accept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import polars as pl

from tests.fakes import tws_history
from tests.fakes.tws_account import ACCOUNT, FIRST_CONTRACT, TwsAccount
from tests.fakes.tws_history import Fault, Row
from tests.services import free_port

SERVER_VERSION = 176
PATIENCE_SECONDS = 60
BUSY_SECONDS = 60  # that a busy machine may take for what is done in milliseconds
NO_DATA = "Historical Market Data Service error message:HMDS query returned no data: {symbol}@SMART Trades"
PACING = "Historical Market Data Service error message:Historical data request pacing violation"
LOST = "Connectivity between IB and Trader Workstation has been lost."


class TwsGateway:
    """A gateway on loopback, in a thread of its own.

    Parameters
    ----------
    bars : Mapping[str, pl.DataFrame]
        Symbol to one-minute bars: `ts`, `open`, `high`, `low`, `close`, `volume`.
    port : int
        0 takes a free one; read `port` afterwards.
    taken_client_ids : set[int]
        Refused with error 326, as if another client were connected under them.
    account : TwsAccount or None
        What orders go to; None takes none.
    """

    def __init__(
        self,
        bars: Mapping[str, pl.DataFrame],
        *,
        port: int = 0,
        taken_client_ids: set[int] | None = None,
        account: TwsAccount | None = None,
    ) -> None:
        self.port = port or free_port()  # it keeps it while it is away
        self.account = account
        self.taken_client_ids = taken_client_ids or set()
        self.requests: list[dict[str, str]] = []
        self.connections = 0
        self.connected_client_ids: list[int] = []
        self._bars = {symbol: tws_history.rows_of(frame) for symbol, frame in bars.items()}
        self._faults: deque[Fault] = deque()
        self._always: Fault | None = None
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._clients: set[_Client] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def misbehave(self, fault: Fault, *, times: int = 1) -> None:
        """Let the next history requests go wrong, in the order told."""
        self._faults.extend([fault] * times)

    def misbehave_always(self, fault: Fault | None) -> None:
        """Let every history request go wrong, until told None."""
        self._always = fault

    def do(self, action: Callable[[], object]) -> None:
        """Have something happen in the gateway's own thread, and wait until it has."""

        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(PATIENCE_SECONDS)

    def tell_all(self, code: int, text: str) -> None:
        """A notice to every client, such as 1100."""
        self.do(lambda: [client.send(4, 2, -1, code, text, "") for client in self._clients])

    def drop_clients(self) -> None:
        """Close every connection."""
        self.do(lambda: [client.close() for client in self._clients])

    def go_away(self) -> None:
        """Close the port and every connection, as at the nightly restart."""
        server = self._server
        if server is not None:
            self.do(server.close)
        self.drop_clients()

    def come_back(self) -> None:
        """Listen again, on the port of before."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._listening.set()
        self._loop.run_forever()
        if self._server is not None:
            self._server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", self.port)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        client = _Client(self, writer)
        self._clients.add(client)
        try:
            if await reader.readexactly(4) != b"API\0":
                return
            await _read_frame(reader)
            client.send(SERVER_VERSION, datetime.now(UTC).strftime("%Y%m%d %H:%M:%S UTC"))
            while True:
                await client.answer((await _read_frame(reader)).decode().split("\0")[:-1])
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the client left, was sent away, or the gateway stops
        finally:
            self._clients.discard(client)
            client.leave()
            writer.close()

    def _next_fault(self) -> Fault | None:
        return self._faults.popleft() if self._faults else self._always


class _Client:
    """One connection: reads requests, writes answers."""

    def __init__(self, gateway: TwsGateway, writer: asyncio.StreamWriter) -> None:
        self._gateway = gateway
        self._writer = writer
        self._id: int | None = None
        self._later: set[asyncio.Task[None]] = set()
        self._answers: dict[str, Callable[[list[str]], None]] = {
            "71": self._start,
            "49": lambda _: self.send(49, 1, int(datetime.now(UTC).timestamp())),
            "9": self._contract_details,
            "61": lambda _: self.send(62, 1),
            "5": lambda _: self.send(53, 1),
            "99": lambda _: self.send(102),
            "6": lambda f: self.send(54, 1, f[3]),
            "76": lambda f: self.send(74, 1, f[2]),
            "7": lambda f: self.send(55, 1, f[2]),
        }
        if gateway.account is not None:
            self._answers |= self._account_answers(gateway.account)

    def send(self, *fields: object) -> None:
        body = "".join(f"{field}\0" for field in fields).encode()
        self._writer.write(struct.pack(">I", len(body)) + body)

    async def answer(self, fields: list[str]) -> None:
        if fields[0] == "20":
            await self._history(fields)
        elif fields[0] in self._answers:
            self._answers[fields[0]](fields)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def _account_answers(self, account: TwsAccount) -> dict[str, Callable[[list[str]], None]]:
        return {
            "3": lambda f: account.place(self._id or 0, self.send, f),
            "4": lambda f: account.cancel(self._id or 0, self.send, int(f[2])),
            "16": lambda _: account.open_orders(self.send),
            "99": lambda _: account.completed_orders(self.send),
            "7": lambda f: account.executed(self.send, f[2]),
            "61": lambda _: account.positions(self.send),
            "6": lambda f: account.values(self.send) if f[2] == "1" else None,
        }

    def leave(self) -> None:
        account = self._gateway.account
        if account is not None and self._id is not None:
            account.clients.pop(self._id, None)
        if self._id in self._gateway.connected_client_ids:
            self._gateway.connected_client_ids.remove(self._id)
        for task in self._later:
            task.cancel()

    def _error(self, request: str | int, code: int, text: str) -> None:
        self.send(4, 2, request, code, text, "")

    def _start(self, fields: list[str]) -> None:
        client_id = int(fields[2])
        if client_id in {*self._gateway.taken_client_ids, *self._gateway.connected_client_ids}:
            self._error(-1, 326, "Unable to connect as the client id is already in use. Retry with another.")
            raise ConnectionError(f"client id {client_id} is taken")
        self._id = client_id
        self._gateway.connected_client_ids.append(client_id)
        account = self._gateway.account
        numbers = [order["number"] for order in account.placed] if account else []
        self.send(15, 1, ACCOUNT)
        self.send(9, 1, max(numbers, default=0) + 1)
        if account is not None:
            account.clients[client_id] = self.send
        for code, farm in ((2104, "Market data farm"), (2106, "HMDS data farm"), (2158, "Sec-def data farm")):
            self._error(-1, code, f"{farm} connection is OK:stand-in")

    def _contract_details(self, fields: list[str]) -> None:
        request, symbol = fields[2], fields[4]
        account = self._gateway.account
        if symbol not in (account.prices if account else self._gateway._bars):
            self._error(request, 200, "No security definition has been found for the request")
            return
        number = account.contract(symbol) if account else FIRST_CONTRACT
        about = (symbol, "STK", "", 0, "", "SMART", "USD", symbol, "NMS", symbol, number, 0.01)
        trade = ("", "LMT,MKT", "SMART,NASDAQ", 1, 0, symbol, "NASDAQ", "", "", "", "", "US/Eastern", "", "")
        self.send(10, request, *about, *trade, "", "", 0, 1, "", "", "26", "", "COMMON", 0.0001, 0.0001, 100)
        self.send(52, 1, request)

    async def _history(self, fields: list[str]) -> None:
        request, symbol = fields[1], fields[3]
        names = ("end", "bar_size", "duration", "use_rth", "what_to_show", "format_date")
        asked = dict(zip(names, fields[15:21], strict=True))
        self._gateway.requests.append({"symbol": symbol, **asked})
        fault = self._gateway._next_fault()
        if symbol not in self._gateway._bars:
            self._error(request, 200, "No security definition has been found for the request")
            return
        rows, start, end = tws_history.answered(self._gateway._bars[symbol], asked)
        match fault:
            case Fault.PACING:
                self._error(request, 162, PACING)
            case Fault.TOO_MANY_REQUESTS:
                self._error(request, 420, "Invalid Real-time Query: pacing violation")
            case Fault.NO_PERMISSION:
                self._error(
                    request, 162, "Historical Market Data Service error message:No market data permissions"
                )
            case Fault.SILENT:
                pass
            case Fault.CONNECTIVITY_LOST:
                self._error(-1, 1100, LOST)
                await asyncio.sleep(0.05)
                self._error(-1, 1102, "Connectivity between IB and TWS has been restored- data maintained.")
            case Fault.DISCONNECT:
                body = tws_history.message(request, start, end, rows).encode()
                self._writer.write((struct.pack(">I", len(body)) + body)[: len(body) // 2])
                raise ConnectionError("told to disconnect")
            case Fault.NO_DATA:
                self._error(request, 162, NO_DATA.format(symbol=symbol))
            case _ if not rows:
                self._error(request, 162, NO_DATA.format(symbol=symbol))
            case _:
                await self._send_bars(request, start, end, rows, fault)

    async def _send_bars(
        self, request: str, start: datetime, end: datetime, rows: list[Row], fault: Fault | None
    ) -> None:
        if fault is Fault.SLOW:
            await asyncio.sleep(0.1)
        if fault is Fault.FARM_NOTICES:
            for code in (2103, 2105, 2107, 2108, 2104, 2106):
                self._error(-1, code, f"notice {code}")
        body = tws_history.message(request, start, end, tws_history.spoiled(rows, end, fault))
        if fault is Fault.GARBAGE:
            body = "\0".join(body.split("\0")[:-4]) + "\0"
        self._writer.write(struct.pack(">I", len(body.encode())) + body.encode())


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(length)


def read_bars(path: Path) -> dict[str, pl.DataFrame]:
    """Symbol to bars, from a Parquet file or from a folder's one-minute ones."""
    files = sorted(path.glob("*_1m_*.parquet")) if path.is_dir() else [path]
    frames = pl.concat([pl.read_parquet(file) for file in files], how="diagonal_relaxed")
    return {
        str(symbol): frame for (symbol,), frame in frames.partition_by("instrument", as_dict=True).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in TWS gateway on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bars", type=Path, required=True, help="Parquet file, or folder of *_1m_*.parquet")
    parser.add_argument(
        "--fault", type=Fault, choices=list(Fault), help="how every history request goes wrong"
    )
    arguments = parser.parse_args()
    with TwsGateway(read_bars(arguments.bars), port=arguments.port) as gateway:
        gateway.misbehave_always(arguments.fault)
        sys.stdout.write(json.dumps({"port": gateway.port, "symbols": sorted(gateway._bars)}) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
