"""A trader in a small world whose bars are in a lake and whose models are in a registry."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from autotrader import command
from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.model_predictor import ModelPredictor
from autotrader.adapters.paper_broker import PaperBroker
from autotrader.apps.trader.incident_answers import open_model
from autotrader.apps.trader.incident_export import incident_export
from autotrader.apps.trader.incident_replay import incident_replay
from autotrader.config.settings import PaperSettings, Settings, TradingSettings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.schemas import BARS
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import Refused, Rejected
from autotrader.domain.orders import Order
from autotrader.domain.rollout import Color
from autotrader.execution.strategy import EntryRule
from autotrader.features.definitions import BALANCED
from autotrader.ports.broker import Broker, VenueOrder
from autotrader.ports.events import EventLog
from autotrader.ports.predictions import Prediction, PredictionRequest
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.trading import Page
from autotrader.trading.bars import Bar, Batch
from tests.fakes.holds import InMemoryHolds
from tests.fakes.registry import InMemoryRegistry
from tests.models import TAGS, candidate, trading_model
from tests.trading import BTC, ETH, MINUTE, START, World, walk

EVERYTHING = Page(limit=100_000)
SILENT = START + 31 * MINUTE  # nobody answers
ABSENT = START + 47 * MINUTE  # no bar of one instrument came
REFUSED = START + 60 * MINUTE  # the venue rejects the first order from here on
NEW_DAY = START + 119 * MINUTE  # of the bars that close as the trading day begins
MINUTES = 200


class Answers:
    """The model as it is served, but for bars at which it is silent."""

    def __init__(self, content: bytes, version: str) -> None:
        self._model: ModelPredictor = open_model(content, version)

    def of(self, version: str) -> EntryRule:
        return self._model.of(version)

    async def predict(self, request: PredictionRequest) -> Prediction:
        if request.ts[0] == SILENT:
            raise Refused("expected an owner, was nobody")
        return replace(await self._model.predict(request), color=Color.GREEN, epoch=3)


class RejectsOne:
    """A paper venue that rejects the first order that is decided from an instant on."""

    def __init__(self, paper: PaperBroker, since: datetime) -> None:
        self._paper = paper
        self._since = since
        self.rejected: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._paper, name)

    async def submit(self, order: Order) -> VenueOrder:
        if self.rejected in (None, order.client_order_id) and order.decided_at >= self._since:
            self.rejected = order.client_order_id
            raise Rejected("expected enough margin, was none")
        return await self._paper.submit(order)


class FillsAtOnce:
    """A paper venue that fills a second after it has got an order, in part."""

    def __init__(self, paper: PaperBroker) -> None:
        self._paper = paper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._paper, name)

    async def submit(self, order: Order) -> VenueOrder:
        await self._paper.submit(order)
        at, price = order.decided_at + timedelta(seconds=1), float(order.reference_price)
        bar = Bar(order.instrument, price, price, price, price, 400.0, 0.0)
        await self._paper.take(Batch(at, at, (bar,)))
        word = await self._paper.order(order)
        assert word is not None
        return word


def prompt(paper: PaperBroker) -> Broker:
    broker: Any = FillsAtOnce(paper)
    return broker  # type: ignore[no-any-return]


def rejecting(paper: PaperBroker) -> Broker:
    broker: Any = RejectsOne(paper, REFUSED)
    return broker  # type: ignore[no-any-return]


class Place:
    """All that the two verbs are given.

    Parameters
    ----------
    is_smooth : bool
        Whether everybody answers, and the venue takes every order.
    """

    def __init__(self, folder: Path, *, minutes: int = MINUTES, is_smooth: bool = False) -> None:
        self.folder = folder
        self.settings = Settings(
            _env_file=None,
            home=folder,
            trading=TradingSettings(day_boundary="02:00 UTC"),
            # So little of a bar that most orders are filled in part.
            paper=PaperSettings(participation=0.2, initial_cash=Decimal(100_000)),
        )
        bars = walk((BTC, ETH), minutes)
        seen = [replace(b, bars=b.bars[:1]) if b.ts == ABSENT and not is_smooth else b for b in bars]
        self.model = trading_model()
        answers = open_model(self.model, "v1.0.0") if is_smooth else Answers(self.model, "v1.0.0")
        self.world = World(
            folder,
            seen,
            predictor=answers,  # type: ignore[arg-type]
            settings=self.settings,
            wrap=(lambda paper: paper) if is_smooth else rejecting,
        )
        self.events: EventLog = SqlEventLog(open_database(f"sqlite:///{folder}/autotrader.db"))
        self.lake = Lake(str(folder / "lake"))
        self.holds = InMemoryHolds()
        self.registry = InMemoryRegistry(self.events)
        self.register(self.registry, "run-1")
        BarStore(self.lake, self.holds).upsert(_frames(bars), commit_key="walk")

    def register(self, registry: ModelRegistry, run_id: str) -> None:
        """Register the model that answers, as v1.0.0."""
        made = candidate(self.folder / "models", "key", run_id, tags=TAGS)
        made = replace(made, feature_names=BALANCED.names)
        made.onnx_path.write_bytes(self.model)
        registry.register(made, actor="tests")

    def export(self, out: Path, *, start: datetime = START, end: datetime | None = None) -> command.Result:
        return incident_export(
            start=start,
            end=end or START + MINUTES * MINUTE,
            out=out,
            settings=self.settings,
            records=self.world.records,
            events=self.events,
            lake=self.lake,
            holds=self.holds,
            registry=self.registry,
            clock=SystemWallClock(),
        )

    def replay(self, file: Path, model: str | None = None) -> command.Result:
        return incident_replay(file=file, model=model, settings=self.settings)


def _frames(batches: Sequence[Batch]) -> list[pl.DataFrame]:
    rows: dict[str, list[dict[str, object]]] = {}
    for batch in batches:
        for bar in batch.bars:
            rows.setdefault(bar.instrument.symbol, []).append(
                {
                    "venue": "binance",
                    "instrument": bar.instrument.symbol,
                    "interval": "1m",
                    "ts": batch.ts,
                    "open": bar.open,
                    "high": bar.high,
                    "low": bar.low,
                    "close": bar.close,
                    "volume": bar.volume,
                    "taker_buy_base": bar.taker_buy,
                    "known_at": batch.closed_at,
                    "ingested_at": batch.closed_at,
                    "source": "recorded",
                }
            )
    return [pl.DataFrame(found, schema=BARS) for found in rows.values()]


def altered(bundle: Path, out: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of the bundle in which a file is another one, and its digest still the old one."""
    out.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            new.writestr(member, change(content) if member.filename == name else content)
    return out


def forged(bundle: Path, out: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """The same with the new digest: what somebody would do who wants to be believed."""
    with zipfile.ZipFile(bundle) as old:
        digest = hashlib.sha256(change(old.read(name))).hexdigest()

    def renamed(content: bytes) -> bytes:
        manifest = json.loads(content)
        manifest["files"][name] = digest
        return json.dumps(manifest).encode()

    between = out.with_suffix(".between")
    altered(bundle, between, name, change)
    return altered(between, out, "manifest.json", renamed)
