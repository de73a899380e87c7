"""A registered version over a small market in a real lake, for the checks before its deployment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper, numpy_helper

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.config.settings import Environment, Settings, StrategySettings
from autotrader.deployment.checks.pre_deploy import PreDeployReport, pre_deploy_checks
from autotrader.domain.bars import Interval
from autotrader.domain.verdicts import Finding
from autotrader.features.definitions import BALANCED
from autotrader.ports.deployment import Release
from autotrader.ports.registry import ModelCandidate, ModelStatus, ModelVersion
from tests.fakes.approvals import InMemoryApprovals
from tests.fakes.clocks import SettableClock
from tests.fakes.registry import InMemoryRegistry
from tests.fakes.small_market import INSTRUMENTS, NOW, Stores, market

NAME = "autotrader-strategy"
WALL = datetime(2026, 3, 1, 9, tzinfo=UTC)
KEY = "training-key"
METADATA = {"feature_set": BALANCED.version, "training_key": KEY}


def model_bytes(
    names: tuple[str, ...] = BALANCED.names,
    metadata: Mapping[str, str] = METADATA,
    *,
    seed: int = 7,
    last: str = "Softmax",
    outputs: int = 3,
) -> bytes:
    """A softmax regression of our contract, or not quite of it."""
    weights = np.random.default_rng(seed).normal(size=(len(names), outputs)).astype(np.float32) / 100
    axis = {"axis": 1} if last == "Softmax" else {}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["scores"]),
            helper.make_node(last, ["scores"], ["probabilities"], **axis),
        ],
        "regression",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(names)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    for name, value in {**metadata, "feature_names": json.dumps(names)}.items():
        model.metadata_props.add(key=name, value=value)
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(content))
    return content


@dataclass
class Desk:
    """Everything that the checks ask."""

    folder: Path
    stores: Stores
    environment: Environment = Environment.DEV
    registry: InMemoryRegistry = field(default_factory=InMemoryRegistry)
    approvals: InMemoryApprovals = field(default_factory=InMemoryApprovals)
    wall: SettableClock = field(default_factory=lambda: SettableClock(WALL))
    market_time: datetime = NOW + timedelta(minutes=4)
    symbols: tuple[str, ...] = tuple(i.symbol for i in INSTRUMENTS)

    def register(
        self, content: bytes | None = None, *, status: ModelStatus = ModelStatus.CANDIDATE, **tags: str
    ) -> ModelVersion:
        number = len(self.registry.list(NAME))
        path = self.folder / f"{number}.onnx"
        path.write_bytes(model_bytes() if content is None else content)
        given = {
            "git_sha": "6421acd",
            "data_versions": "{}",
            "feature_set": BALANCED.version,
            "environment": "dev",
            "decision": "promoted",
            "instruments": " ".join(map(str, INSTRUMENTS)),
            "gate_report_sha256": "b" * 64,
        }
        candidate = ModelCandidate(
            name=NAME,
            training_key=KEY if number == 0 else f"{KEY}-{number}",
            onnx_path=path,
            native_path=path,
            feature_names=BALANCED.names,
            run_id=f"run-{number}",
            status=status,
            reason="judged",
            tags=given | tags,
        )
        return self.registry.register(candidate, actor="training")

    @property
    def settings(self) -> Settings:
        stores = dict.fromkeys(("uri", "archive_uri"), "x")
        return Settings(
            environment=self.environment,
            strategy=StrategySettings(interval=Interval.M5),
            binance={"instruments": self.symbols},  # type: ignore[arg-type]
            database={"url": "sqlite:////x", "ledger_url": "sqlite:////x"},  # type: ignore[arg-type]
            lake=stores,  # type: ignore[arg-type]
            mlflow={"tracking_uri": "http://x"},  # type: ignore[arg-type]
        )

    def check(
        self, version: str = "v1.0.0", *, submitted_by: str = "carol", asked_at: datetime = WALL
    ) -> PreDeployReport:
        return pre_deploy_checks(
            version=version,
            submitted_by=submitted_by,
            asked_at=asked_at,
            folder=self.folder / "release",
            settings=self.settings,
            registry=self.registry,
            store=self.stores.features,
            bars=self.stores.bars,
            approvals=self.approvals,
            market_clock=StandingMarketClock(self.market_time),
            wall_clock=self.wall,
        )


def finding(report: PreDeployReport, check: str) -> Finding:
    (found,) = (f for f in report.verdict.findings if f.check == check)
    return found


def bars_of(symbol: str, *, seed: int, days: int = 4) -> pl.DataFrame:
    """A random walk of 5 minutes until `NOW`, in the columns of stored bars."""
    return market(symbol, days=days, momentum=0.0, seed=seed, source="made")


def small_market(folder: Path) -> Stores:
    """Four days of both instruments."""
    return Stores.filled(folder, [bars_of(i.symbol, seed=n) for n, i in enumerate(INSTRUMENTS)])


def release_of(folder: Path, content: bytes, version: str = "v1.0.0") -> Release:
    """A release in a folder, as a service wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    release = Release(NAME, version, str(folder), digest, BALANCED.version)
    fields: dict[str, Any] = {
        "model": release.model,
        "version": release.version,
        "onnx_sha256": digest,
        "feature_set": release.feature_set,
    }
    (folder / "release.json").write_text(json.dumps(fields))
    return replace(release)
