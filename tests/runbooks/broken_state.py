"""What is served, held and kept goes wrong while a page is run, and whether it is well again."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from autotrader.adapters.processes import ProcessTable
from autotrader.ports.tokens import Scope
from tests.monitoring.parts import token_of, trader
from tests.monitoring.trader_on_waves import CRASH
from tests.runbooks.stack import Stack, until
from tests.runbooks.versions import NEW, Words, deploy, live, one_before, register
from tests.services import free_port

# ------------------------------------------------------------------------------- what is served


@contextmanager
def failing_model(stack: Stack) -> Iterator[Words]:
    """The live service cannot write its log any more, as on a full disk, and refuses to predict unseen."""
    words = one_before(stack)
    color = live(stack).candidate
    process = ProcessTable(stack.home / f"deployment/processes/{color}").process("serving")
    assert process is not None
    limits = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, limits[1]))
    over = threading.Event()
    asked = json.dumps(_request(stack)).encode()
    caller = threading.Thread(target=_ask_until, args=(stack, color, asked, over), daemon=True)
    caller.start()
    failed = f'http_requests_total{{service="prediction-{color}",endpoint="/predict",status="503"}}'
    try:
        until(lambda: stack.watched(f"rate({failed}[5m]) > 0"), "Prometheus to see failures")
        yield words
    finally:
        over.set()
        caller.join(timeout=60)
        with suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_FSIZE, limits)


def _ask_until(stack: Stack, color: str, asked: bytes, over: threading.Event) -> None:
    url = f"http://127.0.0.1:{stack.environment[f'AUTOTRADER_SERVING__{color.upper()}_PORT']}"
    token = (stack.home / "serving.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
        while not over.wait(0.2):
            with suppress(httpx.TransportError):
                client.post("/predict", content=asked)


def _request(stack: Stack) -> dict[str, Any]:
    """One that the live version was seen to answer before it went live."""
    golden = json.loads((stack.home / f"deployment/checks/{live(stack).version}/golden.json").read_text())
    row = golden["rows"][0]
    asked = {"request_id": "test", "instrument": row["instrument"], "feature_set": golden["feature_set"]}
    return {**asked, "ts": [row["ts"]], "rows": [row["row"]]}


def is_served(stack: Stack) -> bool:
    """By another version than the one that failed, in the platform's own word."""
    return bool(stack.ask("smoke", model="champion"))


@contextmanager
def unsound_candidate(stack: Stack) -> Iterator[Words]:
    """Its file is of another training than the registry says: somebody tries to deploy it."""
    bad = register(stack, is_sound=False)
    assert deploy(stack, bad)["outcome"] == "fail"
    yield {NEW: bad}


def is_left(stack: Stack) -> bool:
    newest = stack.ask("list-versions")[0]
    return bool(newest["status"] == "failed" and live(stack).version != newest["version"])


# --------------------------------------------------------------------------------- the account


@contextmanager
def trade_by_hand(stack: Stack) -> Iterator[None]:
    """Somebody with the venue's keys buys for 500 USD, while no trader runs."""
    stack.trade()
    stack.stop_trader()
    order = {
        "order": "by-hand",
        "instrument": "binance:BTCUSDT",
        "side": "buy",
        "quantity": "0.01",
        "limit": None,
    }
    fill = {"fill": "by-hand-1", "order": "by-hand", "quantity": "0.01", "price": "50000", "fee": "0"}
    fill |= {"fee_currency": "USDT", "at": "2024-02-29T23:59:00+00:00"}
    with (stack.home / "paper/main.jsonl").open("a") as journal:
        journal.write(json.dumps([order | {"limit": None}, fill]) + "\n")
    stack.start_trader()
    until(lambda: stack.account()["state"] == "halted", "the trader to see it")
    yield


@contextmanager
def falling_market(stack: Stack) -> Iterator[None]:
    """An account beside ours holds something when prices fall, until its circuit breaker trips."""
    home = Path(other_account(stack)["AUTOTRADER_HOME"])
    home.mkdir()
    Path(other_account(stack)["TOKEN_FILE"]).write_text(token_of(home, Scope.APPROVE) + "\n")
    part = trader(home, free_port())
    try:
        part.start()
        until(lambda: _of_other(stack)["bars_until"], "it to trade")
        (home / CRASH).touch()
        until(lambda: _of_other(stack)["state"] == "halted", "its breaker to trip")
        (home / CRASH).unlink()
        yield
    finally:
        part.kill()
        shutil.rmtree(home)


def has_resumed(stack: Stack) -> bool:
    return bool(_of_other(stack)["state"] == "active")


def other_account(stack: Stack) -> dict[str, str]:
    home = stack.folder / "falling"
    return {"AUTOTRADER_HOME": str(home), "TOKEN_FILE": str(home / "token")}


def _of_other(stack: Stack) -> Any:
    return Stack(stack.folder, stack.environment | other_account(stack)).account()


def is_active(stack: Stack) -> bool:
    return bool(stack.account()["state"] == "active")


# --------------------------------------------------------------------------------------- backups


@contextmanager
def no_backup(stack: Stack) -> Iterator[None]:
    """Somebody took them all away."""
    place = Path(stack.environment["AUTOTRADER_BACKUP__URI"])
    aside = place.with_name("aside")
    place.rename(aside)
    yield
    for path in aside.rglob("*"):
        if path.is_file():
            (place / path.relative_to(aside)).parent.mkdir(parents=True, exist_ok=True)
            path.replace(place / path.relative_to(aside))
    shutil.rmtree(aside)


@contextmanager
def no_room_for_backups(stack: Stack) -> Iterator[None]:
    """Something else lies where they go, and the nightly run fails."""
    place = Path(stack.environment["AUTOTRADER_BACKUP__URI"])
    aside = place.with_name("aside-from-file")
    place.rename(aside)
    place.write_text("in the way")
    try:
        stack.autotrader("backup", code=None)
        yield
    finally:
        place.unlink()
        aside.rename(place)


def has_backup(stack: Stack) -> bool:
    return bool(stack.ask("backups list")["sets"])
