"""A backtest on demand: the registered model over a stored window, honestly labelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.domain.errors import BadData
from autotrader.training.on_demand import OnDemandBacktest, backtest_on_demand
from tests.fakes.small_market import STRATEGY
from tests.fakes.training_run import TrainingRun


def run(signal: TrainingRun, folder: Path, onnx_path: Path | None) -> OnDemandBacktest:
    return backtest_on_demand(
        prepared=signal.prepare(),
        onnx_path=onnx_path,
        title="Backtest of v1.0.0",
        strategy=STRATEGY,
        folder=folder,
    )


def test_a_model_is_traded_beside_its_baselines_and_the_report_shows_it(
    signal: TrainingRun, tmp_path: Path
) -> None:
    done = run(signal, tmp_path, Path(signal.evaluate().files.onnx_path))
    assert set(done.metrics) == {"model", "flat", "buy_and_hold"}
    assert done.metrics["flat"]["net_pnl"] == 0
    assert done.metrics["model"]["trades"] > 0
    page = Path(done.report_path).read_text()
    assert "Backtest of v1.0.0" in page
    assert "<svg" in page


def test_rows_that_the_model_learnt_from_are_owned_up_to(signal: TrainingRun, tmp_path: Path) -> None:
    done = run(signal, tmp_path, Path(signal.evaluate().files.onnx_path))
    assert done.learnt_share is not None
    assert 0 < done.learnt_share < 1
    assert "on them it flatters itself" in done.statement


def test_without_a_model_the_baselines_stand_alone(signal: TrainingRun, tmp_path: Path) -> None:
    done = run(signal, tmp_path, None)
    assert set(done.metrics) == {"flat", "buy_and_hold"}
    assert done.learnt_share is None
    assert done.metrics["buy_and_hold"]["costs"] > 0


def test_a_file_that_is_no_model_is_refused(signal: TrainingRun, tmp_path: Path) -> None:
    page = tmp_path / "model.onnx"
    page.write_text("<html>")
    with pytest.raises(BadData, match="expected an ONNX model"):
        run(signal, tmp_path, page)


def test_the_same_model_over_the_same_window_decides_the_same(signal: TrainingRun, tmp_path: Path) -> None:
    model = Path(signal.evaluate().files.onnx_path)
    first, second = (run(signal, tmp_path / name, model).decision_hash for name in "ab")
    assert first is not None
    assert first == second
    assert len(first) == 64
    assert run(signal, tmp_path / "c", None).decision_hash is None
