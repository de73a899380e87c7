"""The trader: from a closed bar to the broker port, and how fast it goes through recorded bars.

    python benchmarks/trading.py

Latency: ten instruments, everything as it is live (the account written after each bar, an order on the
disk before it is sent; SQLite, `synchronous` FULL). An order's time is from its closed bar being there
until the broker port is asked to submit it, so that of ten orders of one bar the last has waited for
nine. Some bars bring one order, some two, and once an hour up to seven; those of the first bar, which finds
everything cold, are apart. Goal: p99 below 5 ms. It is taken with a
model in the process and with a prediction service that is asked over HTTP by way of the routes; beside
it what the disk takes by itself to make a record durable, which is in each of them.

Replay: recorded bars as fast as they come, with features, predictions (of scores that were computed
before), sizing, limits, the paper venue and durable records, on one core; goal: 5,000 bars a second. The
alternative in the same run is backtesting.py on the same bars, entries and exits. It has no features,
no limits, no orders in doubt, nothing on the disk and one instrument.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import structlog
from alternatives.process import Alternatives, installed, save
from backtest import CAPITAL, RATE, last_hour_score, read_bars
from switching import MODEL, free_port, go_live, make_releases
from timing import emit

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.local_target import LocalTarget
from autotrader.adapters.model_predictor import ModelPredictor
from autotrader.adapters.paper_broker import PaperBroker
from autotrader.adapters.paper_journal import PaperJournal
from autotrader.adapters.paper_rules import assumed_rules
from autotrader.adapters.prediction_client import PredictionClient
from autotrader.adapters.process_owner import has_ended, this_process
from autotrader.adapters.routed_predictor import RoutedPredictor
from autotrader.apps.trader.assembly import Surroundings, assemble, make_keeper
from autotrader.apps.trader.history import PastBars, batches_of
from autotrader.config.serving_token import serving_token
from autotrader.config.settings import Settings
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import Order
from autotrader.domain.rollout import Color
from autotrader.execution.arrays import Floats
from autotrader.execution.strategy import EntryRule
from autotrader.features.kernels.layout import LOOKBACK
from autotrader.features.live import warm_up
from autotrader.ports.broker import VenueOrder
from autotrader.ports.predictions import Prediction, PredictionRequest, Predictor
from autotrader.ports.trading import Page
from autotrader.registry.onnx_model import OnnxModel
from autotrader.trading.bars import Batch
from autotrader.trading.trader import Trader

SYMBOLS = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "DOT", "ETH", "LINK", "SOL", "XRP")
START = datetime(2024, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATENCY_MINUTES = 360
PAUSE_SECONDS = 0.01  # between bars: what a step has begun beside itself is over by then
REPLAYED_MINUTES = {1: 43_200, 10: 4_320}  # by how many instruments
ENTRY = 0.3
DAY = 1_440


class Scripted:
    """Predictor and entry scores: scores that were made before, whoever else is asked on the way.

    Parameters
    ----------
    scores : Mapping of str to array (n,)
        Of each instrument, of every minute from `START` on, in [-1, 1].
    model : ModelPredictor or None
        Is asked first, as it would be if its answer counted.
    """

    def __init__(self, scores: Mapping[str, Floats], model: ModelPredictor | None = None) -> None:
        self._scores = {name: values.tolist() for name, values in scores.items()}
        self._model = model
        self._start = START.timestamp()

    def of(self, version: str) -> EntryRule:  # noqa: ARG002 - all by the same rule
        return EntryRule(ENTRY, every_bars=1)

    async def predict(self, request: PredictionRequest) -> Prediction:
        return self.answer(request)

    def answer(self, request: PredictionRequest) -> Prediction:
        if self._model is not None:
            self._model.answer(request)
        minute = round((request.ts[0].timestamp() - self._start) / 60)
        score = self._scores[request.instrument][minute]
        up, down = max(score, 0.0), max(-score, 0.0)
        return Prediction(
            request.request_id,
            request.instrument,
            Color.BLUE,
            "v1.0.0",
            1,
            ((down, 1.0 - up - down, up),),
            0.0,
        )


class Elsewhere:
    """The same, but that a service is asked first, over the network.

    Parameters
    ----------
    scripted : Scripted
    service : Predictor
    """

    def __init__(self, scripted: Scripted, service: Predictor) -> None:
        self._scripted = scripted
        self._service = service
        self.of = scripted.of

    async def predict(self, request: PredictionRequest) -> Prediction:
        await self._service.predict(request)
        return self._scripted.answer(request)


class TimedVenue(PaperBroker):
    """Notes when it is asked to submit an order, on the clock and in processor time."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._arrived = 0.0, 0.0
        self.taken: list[tuple[datetime, float, float]] = []

    def bars_are_there(self) -> None:
        self._arrived = time.perf_counter(), time.process_time()

    async def submit(self, order: Order) -> VenueOrder:
        seconds, used = self._arrived
        taken = time.perf_counter() - seconds, time.process_time() - used
        self.taken.append((order.decided_at, *taken))
        return await super().submit(order)


class Bars:
    """Bars of a frame, a day at a time, for the venue first and then for the trader."""

    def __init__(
        self, frame: pl.DataFrame, instruments: Sequence[InstrumentId], venue: TimedVenue, pause: float
    ) -> None:
        self._frame = frame
        self._instruments = instruments
        self._venue = venue
        self._pause = pause

    async def batches(self) -> AsyncIterator[Batch]:
        for batch in self._all():
            await self._venue.take(batch)
            if self._pause:
                await asyncio.sleep(self._pause)
            self._venue.bars_are_there()
            yield batch

    def _all(self) -> Iterator[Batch]:
        day, end = START, self._frame["ts"].max()
        assert isinstance(end, datetime)
        while day <= end:
            some = pl.col("ts").is_between(day, day + DAY * MINUTE, closed="left")
            yield from batches_of(self._frame.filter(some), Interval.M1, self._instruments)
            day += DAY * MINUTE


def frame_of(instrument: InstrumentId, close: Floats, opened: Floats, volume: Floats) -> pl.DataFrame:
    """Bars, the first `LOOKBACK` of them before `START`."""
    first = START - LOOKBACK * MINUTE
    last = first + (len(close) - 1) * MINUTE
    return pl.DataFrame(
        {
            "venue": instrument.venue.value,
            "instrument": instrument.symbol,
            "ts": pl.datetime_range(first, last, "1m", time_unit="us", time_zone="UTC", eager=True),
            "open": opened,
            "high": np.maximum(opened, close),
            "low": np.minimum(opened, close),
            "close": close,
            "volume": volume,
            "taker_buy_base": volume / 2,
        }
    )


def walk(instruments: Sequence[InstrumentId], minutes: int) -> pl.DataFrame:
    """A random walk of each."""
    random = np.random.default_rng(0)
    frames = []
    for number, instrument in enumerate(instruments):
        moves = random.normal(0, 1e-3, minutes + LOOKBACK)
        close = np.round(100 * (number + 1) * np.exp(np.cumsum(moves)), 2)
        opened = np.concatenate((close[:1], close[:-1]))
        frames.append(frame_of(instrument, close, opened, random.uniform(500, 5_000, len(close))))
    return pl.concat(frames)


def past_of(frame: pl.DataFrame, instrument: InstrumentId) -> PastBars:
    before = frame.filter((pl.col("instrument") == instrument.symbol) & (pl.col("ts") < START))
    columns = before.select("high", "low", "close", "volume", "taker_buy_base").to_numpy()
    return PastBars(before["ts"].to_physical().to_numpy(), np.ascontiguousarray(columns.T))


async def trade(
    settings: Settings,
    frame: pl.DataFrame,
    predictor: Scripted | Elsewhere,
    *,
    replayed: bool,
    watch: Callable[[Trader], None] = lambda _: None,
    pause: float = 0.0,
) -> tuple[TimedVenue, SqlTradingRecords]:
    """Trade an account through the frame's bars, from its first start to its orderly end."""
    warm_up()
    clock, account = SystemWallClock(), settings.trading.account
    records = SqlTradingRecords(open_database(settings.database_url))
    instruments = settings.instruments()
    past = {instrument: past_of(frame, instrument) for instrument in instruments}
    around = Surroundings(account, "SIMULATED", instruments, replayed, 0.0)
    keeper = make_keeper(settings, around, records, clock, owner=this_process(), has_ended=has_ended)
    await keeper.take()
    venue = TimedVenue(
        account,
        instruments[0].venue,
        currency="USDT",
        rules={i: assumed_rules(i, past[i].columns[2].tolist()) for i in instruments},
        settings=settings.paper,
        # It stands for a venue elsewhere: whether it remembers is not what is measured.
        journal=PaperJournal(settings.home / "paper.jsonl", durable=False),
        clock=clock,
    )
    async with venue:
        made = await assemble(
            settings,
            around,
            keeper=keeper,
            broker=venue,
            records=records,
            predictor=predictor,
            entry_rules=predictor,
            past=past,
            clock=clock,
            watch=watch,
        )
        gc.collect()
        gc.freeze()
        await made.session.run(Bars(frame, instruments, venue, pause), made.start, made.why)
    return venue, records


# -------------------------------------------------------------------------------------- latency


def scattered(instruments: Sequence[InstrumentId]) -> dict[str, Floats]:
    """Scores that open and close: one instrument or two in most bars that have any, hourly up to seven."""
    minutes = np.arange(LATENCY_MINUTES)
    scores = {}
    for number, instrument in enumerate(instruments):
        phase = (minutes + 7 * (number // 3) + (number % 3 == 0)) % 30
        scores[str(instrument)] = np.where(phase < 12, 0.9, np.where(phase < 24, -0.9, 0.0))
        scores[str(instrument)][minutes % 60 == 59] = 0.9
    return scores


def measure_latency(settings: Settings, name: str, model: ModelPredictor | None) -> dict[str, object]:
    frame = walk(settings.instruments(), LATENCY_MINUTES)
    predictor = Scripted(scattered(settings.instruments()), model)
    return asyncio.run(_latency(settings, name, frame, predictor))


async def _latency(
    settings: Settings, name: str, frame: pl.DataFrame, predictor: Scripted | Elsewhere
) -> dict[str, object]:
    venue, _ = await trade(settings, frame, predictor, replayed=False, pause=PAUSE_SECONDS)
    first = venue.taken[0][0]
    taken = 1000 * np.array([times for at, *times in venue.taken if at != first])
    quantiles = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        "name": name,
        "load_average": round(os.getloadavg()[0], 1),
        "instruments": len(settings.instruments()),
        "bars": LATENCY_MINUTES,
        "orders": len(taken),
        "ms": {name: round(float(np.quantile(taken[:, 0], q)), 2) for name, q in quantiles.items()},
        "ms_at_first_bar": round(max(1000 * seconds for at, seconds, _ in venue.taken if at == first), 2),
        "cpu_ms": {name: round(float(np.quantile(taken[:, 1], q)), 2) for name, q in quantiles.items()},
        "disk_ms": disk(settings.home),
    }


def disk(folder: Path) -> dict[str, float]:
    """Milliseconds in which the disk makes 8 kB durable, by itself."""
    taken = []
    with (folder / "disk").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"\0" * 8_192)
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(1000 * (time.perf_counter() - begin))
    return {
        "p50": round(statistics.median(taken), 2),
        "p99": round(float(np.quantile(taken, 0.99)), 2),
    }


def home_of(folder: Path, name: str, symbols: Sequence[str]) -> Settings:
    home = folder / name
    home.mkdir()
    return Settings(
        _env_file=None,
        home=home,
        serving={f"{color}_port": free_port() for color in Color},
        binance={"instruments": [f"{symbol}USDT" for symbol in symbols]},
    )


def measure_in_process(folder: Path) -> None:
    settings = home_of(folder, "process", SYMBOLS)
    release = make_releases(settings.home)[Color.BLUE]
    model = ModelPredictor(OnnxModel(Path(release.folder) / "model.onnx"), release.version)
    emit(measure_latency(settings, "trading.latency.model_in_process", model))


def measure_over_http(folder: Path) -> None:
    settings = home_of(folder, "http", SYMBOLS)
    deployment = SqlDeploymentRecords(open_database(settings.database_url), MODEL)
    target = LocalTarget(settings)
    frame = walk(settings.instruments(), LATENCY_MINUTES)

    async def run() -> dict[str, object]:
        async with (
            PredictionClient(serving_token(settings)) as client,
            RoutedPredictor(deployment, client, SystemWallClock()) as routed,
        ):
            predictor = Elsewhere(Scripted(scattered(settings.instruments())), routed)
            return await _latency(settings, "trading.latency.service_over_http", frame, predictor)

    try:
        go_live(settings, deployment, target)
        emit(asyncio.run(run()))
    finally:
        for color in Color:
            target.stop(color)


# --------------------------------------------------------------------------------------- replay


def measure_replay(folder: Path, count: int) -> None:
    settings = home_of(folder, f"replay-{count}", SYMBOLS if count > 1 else ("BTC",))
    instruments, minutes = settings.instruments(), REPLAYED_MINUTES[count]
    if count == 1:
        bars = read_bars()
        some = slice(0, minutes + LOOKBACK)
        source, frame = (
            bars.source,
            frame_of(*instruments, bars.close[some], bars.open[some], bars.volume[some]),
        )
    else:
        source, frame = "random walk", walk(instruments, minutes)
    scores = {
        str(i): last_hour_score(frame.filter(pl.col("instrument") == i.symbol)["close"].to_numpy())[LOOKBACK:]
        for i in instruments
    }
    process, targets, memory = psutil.Process(), [], []

    def watch(trader: Trader) -> None:
        targets.extend(signal.target for signal in trader.take_signals())
        trader.take_latencies()
        if len(targets) % (minutes * count // 10) < count:
            memory.append(process.memory_info().rss)

    begin, used = time.perf_counter(), time.process_time()
    _, records = asyncio.run(trade(settings, frame, Scripted(scores), replayed=True, watch=watch))
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    total = minutes * count
    measured: dict[str, object] = {
        "name": f"trading.replay.{count}_instruments",
        "load_average": round(os.getloadavg()[0], 1),
        "source": source,
        "bars": total,
        "orders": len(records.orders(settings.trading.account, Page(limit=total))),
        "bars_a_second": round(total / seconds),
        "bars_a_second_of_processor": round(total / used),
        "rss_mb": {
            "after_a_tenth": round(memory[0] / 1e6),
            "at_the_end": round(process.memory_info().rss / 1e6),
        },
    }
    if count == 1 and installed():
        measured |= against_backtesting(folder, frame.filter(pl.col("ts") >= START), targets)
    emit(measured)


def against_backtesting(folder: Path, frame: pl.DataFrame, targets: Sequence[float]) -> dict[str, object]:
    """backtesting.py on the same bars; it is given what the trader wanted at each of them."""
    data = save(
        folder / "data.npz",
        ts=frame["ts"].dt.replace_time_zone(None).to_numpy(),
        **{name: frame[name].to_numpy() for name in ("open", "close", "volume")},
        position=targets,
        rate=RATE,
        capital=CAPITAL,
    )
    with Alternatives(data) as process:
        process.do("backtesting_one_signal")
        begin = time.perf_counter()
        done = process.do("backtesting_one_signal")
        seconds = time.perf_counter() - begin
    return {"backtesting": {"bars_a_second": round(len(targets) / seconds), "trades": done["trades"]}}


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_in_process(folder)
        measure_over_http(folder)
        for count in REPLAYED_MINUTES:
            measure_replay(folder, count)


if __name__ == "__main__":
    main()
