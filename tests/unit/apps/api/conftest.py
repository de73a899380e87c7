"""The application over a real SQLite database, asked without a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.engine import Engine

from autotrader.access.authentication import issue
from autotrader.adapters.clocks import StandingMarketClock
from autotrader.apps.api.application import create_application
from autotrader.config.settings import Settings
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.db.tokens import SqlTokens
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Scope
from autotrader.ports.trading import TradingRecords
from tests.fakes.clocks import SettableClock
from tests.services import fresh_database
from tests.unit.apps.api.account import MARKET, TradedAccount

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
HERE = ("127.0.0.1", 50_000)
ELSEWHERE = ("10.1.2.3", 50_000)


@dataclass
class World:
    """The ports of the API, and the API."""

    settings: Settings
    engine: Engine
    clock: SettableClock
    records: TradingRecords
    events: SqlEventLog = field(init=False)
    tokens: SqlTokens = field(init=False)
    application: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        self.events = SqlEventLog(self.engine)
        self.tokens = SqlTokens(self.engine)
        self.application = create_application(
            settings=self.settings,
            engine=self.engine,
            events=self.events,
            records=self.records,
            deployment=SqlDeploymentRecords(self.engine, self.settings.strategy.strategy_id),
            tokens=self.tokens,
            clock=self.clock,
            market_clock=StandingMarketClock(MARKET),
        )

    def account(self, **options: Any) -> TradedAccount:
        return TradedAccount(self.records, now=self.clock.now(), **options)

    def token(self, name: str, *scopes: Scope, days: int = 90) -> str:
        token, stored = issue(name, scopes, (), days=days, actor="tests", now=self.clock.now())
        event = Event(f"token:{stored.id}", EventType.AUDIT, "info", "made", "tests", self.clock.now())
        assert self.tokens.add(stored, event)
        return token

    def client(self, peer: tuple[str, int] = HERE, **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.application, client=peer, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8010", **options)

    async def get(
        self, path: str, *, peer: tuple[str, int] = HERE, headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        async with self.client(peer) as client:
            return await client.get(path, params=query, headers=headers)

    async def post(
        self, path: str, body: object, *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.client() as client:
            return await client.post(path, json=body, headers=headers)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(fresh_database("sqlite", tmp_path))
    yield made
    made.dispose()


@pytest.fixture
def world(engine: Engine, home: Path) -> World:
    return World(Settings(home=home), engine, SettableClock(NOW), SqlTradingRecords(engine))
