"""Gathering the evidence on a judged model, and letting the gates speak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from autotrader.command import to_plain
from autotrader.config.settings import Environment, StrategySettings
from autotrader.ports.tracking import ExperimentTracker
from autotrader.ports.trials import TrialLedger
from autotrader.training.artifacts import content_key, exclusive, file_sha256
from autotrader.training.dataset import PreparedData, open_dataset
from autotrader.training.evaluation import BUY_AND_HOLD, FLAT, MODEL, SHUFFLED, Evaluation
from autotrader.training.gates import Decision, GateEvidence, GateResult, Kind, Outcome, evaluate_gates
from autotrader.training.integrity import Integrity, gather_integrity
from autotrader.training.overfitting import Luck, measure_luck
from autotrader.training.report import write_report
from autotrader.training.results import Results
from autotrader.training.search import FamilySearch
from autotrader.training.statistics import Difference
from autotrader.training.windows import embargo_of

if TYPE_CHECKING:
    from autotrader.data.bars import BarStore

log = structlog.get_logger(__name__)

REPORT_FILE = "report.html"


@dataclass(frozen=True, slots=True)
class Validation:
    """What the gates say of a model, and what becomes of it.

    Attributes
    ----------
    key : str
    folder : str
    environment : Environment
    decision : Decision
    reasons : tuple of str
        Sentences of the gates that did not pass.
    gates : tuple of GateResult
    is_sound : bool
        Whether every integrity gate passed. A model that is not sound must not be registered.
    integrity : Integrity
    luck : Luck
    report_path, report_sha256 : str
        The HTML report for people.
    """

    key: str
    folder: str
    environment: Environment
    decision: Decision
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]
    is_sound: bool
    integrity: Integrity
    luck: Luck
    report_path: str
    report_sha256: str


def validate_model(
    *,
    prepared: PreparedData,
    searches: Sequence[FamilySearch],
    evaluation: Evaluation,
    bars: BarStore,
    ledger: TrialLedger,
    tracker: ExperimentTracker,
    run_id: str,
    strategy: StrategySettings,
    environment: Environment,
    judged_at: datetime,
    results: Results,
) -> Validation:
    """Gather evidence, evaluate the gates, write the report, and tell the tracker.

    Parameters
    ----------
    prepared : PreparedData
    searches : sequence of FamilySearch
    evaluation : Evaluation
    bars : BarStore
        For parity with the live path.
    ledger : TrialLedger
        Its number of trials is the true one.
    tracker : ExperimentTracker
        `run_id` gets metrics, the gate table and the report.
    run_id : str
    strategy : StrategySettings
    environment : Environment
        Says which gates are enforced.
    judged_at : datetime
        Wall time for the report, UTC.
    results : Results
        Report and verdict become its `validation/<key>`.

    Raises
    ------
    BadData
        If a file of the training set or the model is not what it was.
    Unreachable
        If the tracking server does not answer; what is done stays done.
    """
    luck = measure_luck(
        prepared=prepared,
        searches=searches,
        evaluation=evaluation,
        ledger=ledger,
        strategy_id=strategy.strategy_id,
    )
    evaluated = Path(evaluation.folder).name
    digests = (evaluation.files.onnx_sha256, evaluation.files.native_sha256)
    key = content_key("validation 2", evaluated, digests, environment, luck)
    name = f"validation/{key}"
    folder = results.folder / name
    with exclusive(results.folder / f"{name}.lock"):
        validation = results.stored(name, Validation)
        if validation is None:
            data = open_dataset(prepared)
            integrity = gather_integrity(
                data,
                folds=evaluation.folds,
                files=evaluation.files,
                embargo=embargo_of(data),
                bars=bars,
            )
            evidence = _evidence(evaluation, luck, integrity, capital=float(strategy.allocated_capital))
            gates = evaluate_gates(evidence, environment=environment)
            with results.published(name) as staging:
                write_report(
                    staging / REPORT_FILE,
                    prepared=prepared,
                    searches=searches,
                    evaluation=evaluation,
                    integrity=integrity,
                    luck=luck,
                    gates=gates,
                    strategy=strategy,
                    judged_at=judged_at,
                )
                validation = Validation(
                    key=key,
                    folder=str(folder),
                    environment=environment,
                    decision=gates.decision,
                    reasons=gates.reasons,
                    gates=gates.results,
                    is_sound=all(
                        r.outcome is Outcome.PASS for r in gates.results if r.kind is Kind.INTEGRITY
                    ),
                    integrity=integrity,
                    luck=luck,
                    report_path=str(folder / REPORT_FILE),
                    report_sha256=file_sha256(staging / REPORT_FILE),
                )
                results.write(staging, validation)
            validation = results.read(name, Validation)
    _track(validation, evaluation, tracker, run_id)
    log.info("model judged", decision=validation.decision.value, reasons=list(validation.reasons))
    return validation


def _evidence(evaluation: Evaluation, luck: Luck, integrity: Integrity, *, capital: float) -> GateEvidence:
    metrics = evaluation.metrics[MODEL]
    trades = metrics["trades"]
    return GateEvidence(
        required_days=evaluation.required_days,
        evaluation_days=evaluation.days,
        sharpe=metrics["sharpe"],
        sharpe_standard_error=evaluation.sharpe_standard_error,
        max_drawdown=metrics["max_drawdown"],
        win_rate=metrics["win_rate"],
        trades=None if trades is None else int(trades),
        net_pnl=metrics["net_pnl"],
        allocated_capital=capital,
        baselines={
            name: pnl
            for name in (FLAT, BUY_AND_HOLD, SHUFFLED)
            if (pnl := evaluation.metrics[name]["net_pnl"]) is not None
        },
        excess_standard_error=evaluation.excess_standard_error,
        deflated_sharpe_probability=luck.deflated_sharpe_probability,
        trials=luck.trials,
        overfitting_probability=luck.overfitting_probability,
        calibration_error=evaluation.skill.ece,
        calibration_rows=evaluation.skill.rows,
        has_champion=evaluation.has_champion,
        comparisons={
            name: Difference(_number(d["value"]), _number(d["standard_error"]))
            for name, d in evaluation.comparisons.items()
        },
        champion_window=evaluation.champion_window,
        leaks=integrity.leaks,
        schema_mismatches=integrity.schema_mismatches,
        parity_difference=integrity.parity_difference,
        onnx_difference=max(integrity.onnx.maximum_difference, integrity.onnx.single_row_difference),
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _track(validation: Validation, evaluation: Evaluation, tracker: ExperimentTracker, run_id: str) -> None:
    measured = {
        **{f"test_{name}": value for name, value in evaluation.metrics[MODEL].items()},
        **{f"test_{name}": value for name, value in to_plain(evaluation.skill).items()},
        "trials": validation.luck.trials,
        "deflated_sharpe_probability": validation.luck.deflated_sharpe_probability,
        "overfitting_probability": validation.luck.overfitting_probability,
        "gates_passed": sum(r.outcome is Outcome.PASS for r in validation.gates),
        "gates_failed": sum(r.outcome is Outcome.FAIL for r in validation.gates),
        "gates_undecided": sum(r.outcome is Outcome.UNDECIDED for r in validation.gates),
    }
    tracker.log(
        run_id,
        params={
            "family": evaluation.family,
            "training_key": evaluation.key,
            **{f"best.{name}": value for name, value in evaluation.parameters.items()},
        },
        metrics={name: float(value) for name, value in measured.items() if value is not None},
    )
    columns: dict[str, list[object]] = {
        name: [to_plain(getattr(gate, name)) for gate in validation.gates]
        for name in (
            "name",
            "kind",
            "value",
            "comparison",
            "bound",
            "outcome",
            "enforced",
            "reason",
            "source",
        )
    }
    tracker.log_table(run_id, "gates.json", columns)
    tracker.log_file(run_id, Path(validation.report_path), "report")
