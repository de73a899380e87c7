"""What moto lacks of a load balancer: it forwards, on loopback, by the rules and weights of its listener.

Requests go by the first rule whose header they bear, else by the default action's weights, to a healthy
target of the group, in turns; to unhealthy ones where there are no others, as AWS does; 503 where there is
none, 502 where the target hangs up. Nothing is tried twice.

It is a process of its own, so that what is measured through it is not moto's work: `LoadBalancer` starts
it and tells it the way, one line of JSON at each change; it ends with whoever started it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

import uvloop

from tests.fakes.aws.ecs_tasks import RunningTasks

TELL_SECONDS = 0.02
_HERE = "127.0.0.1"
_PATIENCE_SECONDS = 60.0

Headers = Mapping[str, str]
Way = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LoadBalancer:
    """Has a process forward as the listener on this port, of whichever load balancer, says.

    Parameters
    ----------
    port : int
        Of the listener, and of the process.
    tasks : RunningTasks
        The targets.
    """

    def __init__(self, port: int, tasks: RunningTasks) -> None:
        self._port = port
        self._tasks = tasks

    def start(self) -> None:
        command = [sys.executable, "-m", __name__, "--port", str(self._port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        threading.Thread(target=self._tell, args=(process.stdin,), daemon=True).start()

    def _tell(self, process: IO[bytes]) -> None:
        told = b""
        while True:
            if (way := json.dumps(self._ways()).encode()) != told:
                told = way
                process.write(told + b"\n")
                process.flush()
            time.sleep(TELL_SECONDS)

    def _ways(self) -> dict[str, Any]:
        """Rules in their order, as headers and shares of groups, and the ports of each group."""
        listener = self._listener()
        if listener is None:
            return {"rules": [], "ports": {}}
        rules = [rule for rule in list(listener.rules.values()) if str(rule.priority).isdecimal()]
        rules.sort(key=lambda rule: int(rule.priority))
        ways: list[tuple[list[Any], dict[str, int]]] = [
            ([_header(condition) for condition in rule.conditions], _shares(rule.actions)) for rule in rules
        ]
        ways.append(([], _shares(listener.default_actions)))
        groups = {group for _, shares in ways for group in shares}
        return {"rules": ways, "ports": {group: self._ports(group) for group in sorted(groups)}}

    def _ports(self, group: str) -> list[int]:
        tasks = self._tasks.targets(group)
        found = ([task.port for task in tasks if task.target == state] for state in ("healthy", "unhealthy"))
        return next(filter(None, found), [])

    def _listener(self) -> Any | None:
        from moto.elbv2.models import elbv2_backends

        for regions in list(elbv2_backends.values()):
            for backend in list(regions.values()):
                for balancer in list(backend.load_balancers.values()):
                    for listener in list(balancer.listeners.values()):
                        if int(listener.port) == self._port:
                            return listener
        return None


def _header(condition: Mapping[str, Any]) -> tuple[str, list[str]]:
    if condition.get("Field") != "http-header":
        return "", []  # nothing bears it
    asked = condition["HttpHeaderConfig"]
    return str(asked["HttpHeaderName"]).lower(), list(asked["Values"])


def _shares(actions: Sequence[Any]) -> dict[str, int]:
    """Weight of each target group."""
    data = next((action.data for action in actions if action.data["Type"] == "forward"), {})
    groups = data.get("ForwardConfig", {}).get("TargetGroups", [])
    if not groups:
        return {data["TargetGroupArn"]: 1} if data.get("TargetGroupArn") else {}
    return {group["TargetGroupArn"]: int(group["Weight"]) for group in groups}


class Forwarding:
    """The process: what it was told last, and callers who are sent that way."""

    def __init__(self) -> None:
        self._rules: list[tuple[list[tuple[str, list[str]]], dict[str, int]]] = []
        self._ports: dict[str, list[int]] = {}
        self._turn = itertools.count()

    async def serve(self, port: int) -> None:
        """Until nobody tells it anything any more."""
        told = asyncio.StreamReader(limit=2**20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(told), sys.stdin
        )
        async with await asyncio.start_server(self._connect, _HERE, port):
            while line := await told.readline():
                ways = json.loads(line)
                self._rules, self._ports = ways["rules"], ways["ports"]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ways: dict[int, Way] = {}
        try:
            while True:
                head, headers = await _head(reader)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                writer.write(await self._answer(headers, head + body, ways))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for _, way in ways.values():
                way.close()
            writer.close()

    async def _answer(self, headers: Headers, request: bytes, ways: dict[int, Way]) -> bytes:
        port = self._target(headers)
        if port is None:
            return _plain(503, "Service Temporarily Unavailable")
        for is_kept in (True, False):
            # A connection that the target closed while it was idle is no failure of a request.
            if is_kept and (port not in ways or ways[port][0].at_eof()):
                ways.pop(port, None)
                continue
            try:
                if not is_kept:
                    ways[port] = await asyncio.open_connection(_HERE, port)
                from_target, to_target = ways[port]
                to_target.write(request)
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    head, answered = await _head(from_target)
                    return head + await from_target.readexactly(int(answered.get("content-length", 0)))
            except TimeoutError:
                ways.pop(port, None)
                return _plain(504, "Gateway Time-out")
            except (asyncio.IncompleteReadError, ConnectionError):
                ways.pop(port, None)
                if not is_kept:
                    return _plain(502, "Bad Gateway")
        raise AssertionError("a way was tried or opened")

    def _target(self, headers: Headers) -> int | None:
        for asked, shares in self._rules:
            if all(headers.get(name) in values for name, values in asked):
                if not any(shares.values()):
                    return None
                (group,) = random.choices([*shares], [*shares.values()])
                ports = self._ports[group]
                return ports[next(self._turn) % len(ports)] if ports else None
        return None


async def _head(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, str]]:
    head = await reader.readuntil(b"\r\n\r\n")
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return head, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _plain(status: int, text: str) -> bytes:
    return f"HTTP/1.1 {status} {text}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(Forwarding().serve(parser.parse_args().port))
