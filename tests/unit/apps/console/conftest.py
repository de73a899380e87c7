"""The console over a real database and lake; registry, colours and tracking server do as they are told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from autotrader.apps.console.application import application_of
from autotrader.apps.console.board import PanelBoard
from autotrader.apps.console.desk import Desk
from autotrader.apps.console.panel import Content, Panel
from autotrader.apps.console.rendering import render_panel
from autotrader.apps.console.sources import Sources, sources_of
from autotrader.bootstrap import Container
from autotrader.config.settings import BinanceSettings, ClockSettings, Settings
from autotrader.ports.trading import TradingRecords
from autotrader.ports.visitors import Admission, Visit
from tests.fakes.tracking import InMemoryTracker
from tests.services import fresh_database
from tests.unit.apps.api.account import MARKET
from tests.unit.deployment.doubles import Deployment

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
SIGN_IN = "http://127.0.0.1:8080/auth/login/"
MEMBER = {"Authorization": "Bearer of-a-member"}


class KnownMembers:
    """A door that knows one token of a member, and one of a stranger."""

    async def __call__(self, *, authorization: str | None, cookies: Mapping[str, str]) -> Visit:
        match authorization or cookies.get("_token"):
            case "Bearer of-a-member" | "of-a-member":
                return Visit(Admission.ADMITTED, "mia")
            case "Bearer of-a-stranger":
                return Visit(Admission.FORBIDDEN, "sam")
        return Visit(Admission.UNKNOWN, sign_in=SIGN_IN)


@dataclass
class World:
    """Sources that a test fills, and the console over them."""

    container: Container
    sources: Sources
    deployment: Deployment
    tracker: InMemoryTracker

    @property
    def records(self) -> TradingRecords:
        return self.container.trading_records

    def board(self, **options: Any) -> PanelBoard:
        return PanelBoard(self.sources, self.sources.clock, **{"timeout_seconds": 60.0, **options})

    async def content(self, panel: Panel) -> Content:
        return (await self.board().read([panel]))[panel.id]

    async def html(self, panel: Panel) -> str:
        return render_panel(panel, await self.content(panel), self.sources)

    def application(self) -> FastAPI:
        desk = Desk(self.sources, self.board(kept_seconds=0))

        async def find_desk() -> Desk:
            return desk

        return application_of(KnownMembers(), find_desk)

    def client(self, **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.application(), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", **options)

    def write_verdict(self, verdict: Mapping[str, object] | str, name: str = "20240301T000000-run") -> Path:
        folder = self.sources.reports / name
        folder.mkdir(parents=True)
        text = verdict if isinstance(verdict, str) else json.dumps(verdict)
        (folder / "verdict.json").write_text(text)
        (folder / "index.html").write_text("<h1>health</h1>")
        return folder


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    fresh_database("sqlite", tmp_path)
    settings = Settings(
        home=tmp_path,
        binance=BinanceSettings(instruments=("BTCUSDT", "ETHUSDT"), source="recorded"),
        clock=ClockSettings(market_time=MARKET),
    )
    container, deployment, tracker = Container(settings), Deployment(), InMemoryTracker()
    sources = replace(
        sources_of(container),
        registry=lambda: deployment.registry,
        tracker=lambda: tracker,
        deployment=lambda: deployment.records,
        target=lambda: deployment.target,
    )
    yield World(container, sources, deployment, tracker)
    container.close()


def words(html: str) -> str:
    """What a person reads."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def amounts(html: str) -> Sequence[str]:
    """Exact values, in order."""
    return re.findall(r'<data[^>]* value="([^"]*)"', html)
