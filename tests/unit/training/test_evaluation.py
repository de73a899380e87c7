"""The judgement: out of sample, after costs, against baselines, and of the very model that is handed on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from autotrader.command import to_plain
from autotrader.config.settings import Environment
from autotrader.domain.errors import BadData
from autotrader.execution.strategy import StrategyRules, score_of
from autotrader.features.definitions import BALANCED
from autotrader.plain import from_plain
from autotrader.registry.onnx_model import OnnxModel
from autotrader.training.champion import ChampionFiles, ask_champion
from autotrader.training.dataset import open_dataset
from autotrader.training.evaluation import CURVES_FILE, Evaluation
from autotrader.training.export import ModelFiles, export_model
from autotrader.training.folds import read_forecasts
from autotrader.training.gates import Decision, GateResult, Kind, Outcome, rules
from autotrader.training.out_of_sample import OUT_OF_SAMPLE_FILE, load_out_of_sample
from autotrader.training.search import FamilySearch
from autotrader.training.strategy import choose_entry_score, hold, trade
from autotrader.training.windows import evaluation_folds
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY, Stores, market
from tests.fakes.training_run import TRAINING, TrainingRun

RULES = StrategyRules.of(STRATEGY)


def champion_trained_until(run: TrainingRun, until: datetime, folder: Path, **more: str) -> Path:
    """The run's own model, said to have learnt until then."""
    from autotrader.training.classifiers import load_native

    folder.mkdir(exist_ok=True)
    evaluation = run.evaluate()
    classifier, calibration = load_native(Path(evaluation.files.native_path))
    made = export_model(
        classifier,
        calibration,
        folder,
        feature_names=run.prepare().feature_names,
        metadata={"known_until": until.isoformat(), "entry_score": "0.1"} | more,
    )
    return Path(made.onnx_path)


def digests(files: ModelFiles) -> tuple[str, str]:
    return files.onnx_sha256, files.native_sha256


def test_a_planted_signal_is_found_and_earns(signal: TrainingRun) -> None:
    evaluation = signal.evaluate()
    skill = evaluation.skill
    assert skill.direction_auc is not None
    assert skill.direction_auc_error is not None
    assert skill.direction_auc > 0.5 + 3 * skill.direction_auc_error
    assert skill.log_loss < skill.base_rate_log_loss
    net = {name: m["net_pnl"] for name, m in evaluation.metrics.items()}
    assert net["model"] is not None
    assert net["model"] > max(net["buy_and_hold"] or 0, net["shuffled_labels"] or 0, 0)


def test_noise_shows_no_skill_and_passes_no_gate_that_needs_it(noise: TrainingRun) -> None:
    skill = noise.evaluate().skill
    assert skill.direction_auc == pytest.approx(0.5, abs=4 * (skill.direction_auc_error or 0))
    report = noise.validate(Environment.STAGING)
    outcomes = {g.name: g.outcome for g in report.gates}
    for name in ("sharpe", "win_rate", "net_pnl_above_baseline", "deflated_sharpe_probability", "challenger"):
        assert outcomes[name] is not Outcome.PASS
    assert report.decision is Decision.REJECTED
    assert report.is_sound


def test_no_fold_learns_from_what_it_is_judged_on(signal: TrainingRun) -> None:
    data = open_dataset(signal.prepare())
    folds = evaluation_folds(data, TRAINING)
    results = signal.evaluate().folds
    embargo = BALANCED.lookback * STRATEGY.interval.delta
    for fold, result in zip(folds, results, strict=True):
        assert data.end_ts[fold.train].max() + np.timedelta64(embargo) <= data.ts[fold.test].min()
        assert result.known_until + embargo <= result.test_start
    tested = np.concatenate([f.test for f in folds])
    assert len(np.unique(tested)) == len(tested)
    assert tested[-1] == len(data) - 1


def test_the_registered_model_is_the_one_that_made_the_last_forecasts(signal: TrainingRun) -> None:
    evaluation = signal.evaluate()
    last = evaluation.folds[-1]
    assert last.files is not None
    assert digests(last.files) == digests(evaluation.files)
    evaluation.files.verify()
    data = open_dataset(signal.prepare())
    forecasts, _ = read_forecasts(Path(last.files.onnx_path).parent)
    served = OnnxModel(Path(evaluation.files.onnx_path)).probabilities(data.features[forecasts.rows])
    np.testing.assert_allclose(served, forecasts.probabilities, atol=1e-5)


def test_the_model_says_what_its_user_must_know(signal: TrainingRun) -> None:
    evaluation = signal.evaluate()
    metadata = OnnxModel(Path(evaluation.files.onnx_path)).metadata
    assert metadata["training_key"] == evaluation.key
    assert float(metadata["entry_score"]) == evaluation.folds[-1].entry_score
    assert metadata["known_until"] == evaluation.folds[-1].known_until.isoformat()
    assert metadata["decide_every_bars"] == str(TRAINING.sample_every_bars)
    assert metadata["data_source"] == "SIMULATED"


def test_a_short_history_is_judged_as_far_as_it_goes_and_says_so(signal: TrainingRun) -> None:
    evaluation = signal.evaluate()
    assert 10 < evaluation.days < 12
    assert evaluation.required_days == 60
    assert "of 60 asked for" in evaluation.statement


def test_the_recipe_with_the_highest_skill_is_judged_whatever_it_earned(signal: TrainingRun) -> None:
    searches = signal.searches()
    best = max(searches, key=lambda s: s.best.skill or 0)
    assert signal.evaluate().family == best.family
    assert signal.evaluate().parameters == best.best.parameters


def test_flat_earns_nothing_and_buy_and_hold_what_prices_did(signal: TrainingRun) -> None:
    evaluation = signal.evaluate()
    assert evaluation.metrics["flat"]["net_pnl"] == 0
    data = open_dataset(signal.prepare())
    rows = np.concatenate([f.test for f in evaluation_folds(data, TRAINING)])
    gains = []
    for number in range(2):
        bars = data.bars(number)
        first = np.searchsorted(bars.ts, data.ts[rows[0]])
        stop = np.searchsorted(bars.ts, data.end_ts[rows].max(), side="right")
        gains.append(bars.close[stop - 1] / bars.open[first + 1] - 1)
    held = evaluation.metrics["buy_and_hold"]["net_return"]
    assert held == pytest.approx(np.mean(gains), abs=1e-3)


def test_an_evaluation_survives_the_way_through_json(signal: TrainingRun) -> None:
    evaluation = signal.evaluate()
    assert from_plain(Evaluation, to_plain(evaluation)) == evaluation
    search = signal.search("logistic")
    assert from_plain(FamilySearch, to_plain(search)) == search


def test_an_evaluation_cut_short_goes_on_and_comes_to_the_same(
    signal: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autotrader.training import evaluation as module

    class Killed(BaseException):
        pass

    whole = signal.evaluate()
    run = TrainingRun(signal.stores, tmp_path / "work", signal.strategy, signal.training)
    for step in ("dataset", "search"):
        shutil.copytree(signal.work / step, run.work / step)
    judged: list[int] = []
    run_fold = module.run_fold

    def dies_in_the_last(*args: object, **kwargs: object) -> object:
        judged.append(args[2])  # type: ignore[arg-type]
        if args[2] == 2 and judged.count(2) == 1:
            raise Killed
        return run_fold(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "run_fold", dies_in_the_last)
    with pytest.raises(Killed):
        run.evaluate()
    made = {p: p.stat().st_mtime_ns for p in run.work.glob("folds/*/fold-00[01]/*")}
    again = run.evaluate()
    assert {p: p.stat().st_mtime_ns for p in made} == made
    assert again.metrics == whole.metrics
    assert again.files.onnx_sha256 == whole.files.onnx_sha256


def test_a_champion_is_compared_on_what_it_had_not_seen(signal: TrainingRun, tmp_path: Path) -> None:
    until = signal.evaluate().folds[0].test_end
    path = champion_trained_until(signal, until, tmp_path)
    evaluation = signal.evaluate(ChampionFiles(path))
    assert evaluation.has_champion
    assert evaluation.champion_window is not None
    assert evaluation.champion_window.days == pytest.approx(evaluation.days * 2 / 3, abs=1)
    assert f"those after {until:%Y-%m-%d %H:%M}" in evaluation.champion_statement
    assert evaluation.comparisons["champion"]["value"] is not None
    with np.load(Path(evaluation.folder) / CURVES_FILE) as curves:
        assert curves["champion_ts"][0] >= np.datetime64(until.replace(tzinfo=None))
    assert digests(evaluation.files) == digests(signal.evaluate().files)


def test_a_champion_that_has_seen_everything_is_not_compared(signal: TrainingRun, tmp_path: Path) -> None:
    path = champion_trained_until(signal, signal.evaluate().last_ts + timedelta(days=1), tmp_path)
    evaluation = signal.evaluate(ChampionFiles(path))
    assert evaluation.has_champion
    assert evaluation.champion_window is None
    assert "champion" not in evaluation.comparisons
    report = signal.validate(evaluation=evaluation)
    challenger = next(g for g in report.gates if g.name == "challenger")
    assert challenger.outcome is Outcome.UNDECIDED


def test_a_champion_that_decides_at_other_bars_is_not_compared(signal: TrainingRun, tmp_path: Path) -> None:
    until, every = signal.evaluate().folds[0].test_end, 2 * TRAINING.sample_every_bars
    path = champion_trained_until(signal, until, tmp_path, decide_every_bars=str(every))
    evaluation = signal.evaluate(ChampionFiles(path))
    assert evaluation.champion_window is None
    assert f"decides at every {every} bars" in evaluation.champion_statement


@pytest.fixture(scope="module")
def successors(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingRun, TrainingRun]:
    """Two runs four days apart, each judged on the eight days before it."""
    frames = [market(i.symbol, days=24, momentum=0.85, seed=seed) for seed, i in enumerate(INSTRUMENTS)]
    folder = tmp_path_factory.mktemp("successors")
    stores = Stores.filled(folder / "lake", frames)
    training = TRAINING.model_copy(update={"models": ("logistic",), "evaluation_days": 8})
    earlier, later = (
        TrainingRun(stores, folder / str(days), training=training, as_of=NOW - timedelta(days=days))
        for days in (4, 0)
    )
    return earlier, later


def files_of(evaluation: Evaluation) -> ChampionFiles:
    return ChampionFiles(Path(evaluation.files.onnx_path), Path(evaluation.folder) / OUT_OF_SAMPLE_FILE)


def test_a_champion_is_compared_on_the_window_of_its_successor(
    successors: tuple[TrainingRun, TrainingRun],
) -> None:
    champion, run = successors
    files, data = files_of(champion.evaluate()), open_dataset(run.prepare())
    evaluation = run.evaluate(files)
    assert evaluation.champion_window is not None
    assert evaluation.champion_window.days == pytest.approx(evaluation.days, abs=0.1)
    rows = np.concatenate([f.test for f in evaluation_folds(data, run.training)])
    asked = ask_champion(files, data, rows)
    np.testing.assert_array_equal(asked.rows, rows)
    known = {
        (their.instrument[row], their.ts[row]): score
        for their in [open_dataset(champion.prepare())]
        for part in champion.evaluate().folds
        for forecasts, _ in [
            read_forecasts(
                champion.results.folder / f"folds/{champion.evaluate().key}/fold-{part.number:03d}"
            )
        ]
        for row, score in zip(forecasts.rows, forecasts.score, strict=True)
    }
    live = score_of(OnnxModel(files.onnx).probabilities(data.features[rows]))
    for row, at, score in zip(rows, live, asked.score, strict=True):
        assert score == known.get((data.instrument[row], data.ts[row]), at)
    assert 0 < len(known.keys() & set(zip(data.instrument[rows], data.ts[rows], strict=True))) < len(rows)


def test_too_short_a_comparison_with_the_champion_is_undecided_on_a_full_window(
    successors: tuple[TrainingRun, TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_LIMITS", replace(rules._LIMITS, minimum_evaluation_days=1.0))
    champion, run = successors
    files = files_of(champion.evaluate())

    def challenger(files: ChampionFiles) -> GateResult:
        report = run.validate(evaluation=run.evaluate(files))
        assert next(g for g in report.gates if g.name == "max_drawdown").outcome is not Outcome.UNDECIDED
        return next(g for g in report.gates if g.name == "challenger")

    assert challenger(files).outcome is not Outcome.UNDECIDED
    short = challenger(ChampionFiles(files.onnx))
    assert short.outcome is Outcome.UNDECIDED
    assert "of 8 days from 2024-02-2" in short.reason


def test_a_model_against_itself_is_not_worse(successors: tuple[TrainingRun, TrainingRun]) -> None:
    _, run = successors
    assert run.evaluate(files_of(run.evaluate())).comparisons["champion"]["value"] == 0


def test_a_champion_of_other_instruments_is_compared_where_both_trade(
    successors: tuple[TrainingRun, TrainingRun], tmp_path: Path
) -> None:
    champion, run = successors
    files, data = files_of(champion.evaluate()), open_dataset(run.prepare())
    assert files.out_of_sample is not None
    known = load_out_of_sample(files.out_of_sample)
    other = replace(known, instruments=("binance:XRPUSDT", known.instruments[1]))
    rows = np.arange(len(data))
    at = other.positions_of(data, rows)
    assert set(data.instrument[rows[at >= 0]]) == {1}
    np.testing.assert_array_equal(known.ts[at[at >= 0]], data.ts[rows[at >= 0]])
    np.testing.assert_array_equal(known.positions_of(data, rows)[at >= 0], at[at >= 0])


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_damaged_forecasts_of_a_champion_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / OUT_OF_SAMPLE_FILE
    path.write_bytes(content)
    with pytest.raises(BadData, match="expected forecasts out of sample"):
        load_out_of_sample(path)


def test_the_ledger_counts_trials_of_other_runs_too(signal: TrainingRun, tmp_path: Path) -> None:
    alone = signal.validate().luck
    assert alone.trials == len(signal.ledger.trials) == 6
    crowded = TrainingRun(signal.stores, signal.work, signal.strategy, signal.training)
    crowded.ledger.trials |= signal.ledger.trials
    some = next(iter(signal.ledger.trials.values()))
    for n in range(200):
        crowded.ledger.trials[f"other {n}"] = some
    assert crowded.validate().luck.trials == 206


def test_performance_gates_are_advisory_in_dev_and_decide_in_staging(signal: TrainingRun) -> None:
    for environment, expected in (
        (Environment.DEV, Decision.PROMOTED),
        (Environment.STAGING, Decision.REJECTED),
    ):
        report = signal.validate(environment)
        assert report.decision is expected
        assert all(g.outcome is Outcome.PASS for g in report.gates if g.kind is Kind.INTEGRITY)


def test_the_tracker_gets_metrics_gate_table_and_report(signal: TrainingRun) -> None:
    signal.validate()
    run = signal.tracker.runs[signal.run_id]
    assert run.metrics["trials"] == 6
    assert "report/report.html" in run.files
    assert len(run.tables["gates.json"]["name"]) == len(signal.validate().gates)


def test_the_entry_score_is_the_one_that_earned_most(signal: TrainingRun) -> None:
    data = open_dataset(signal.prepare())
    fold = evaluation_folds(data, TRAINING)[0]
    rows = fold.test
    score = data.forward_return[rows] * 50
    chosen = choose_entry_score(data, rows, score, rules=RULES)

    def earned(entry: float) -> float:
        result = trade(data, rows, score, entry_score=np.full(len(rows), entry), rules=RULES)
        return result.metrics.net_pnl

    for other in np.quantile(np.abs(score), [0.0, 0.5, 0.9, 0.99]):
        assert earned(chosen) >= earned(float(other)) - 1e-6


def test_spot_is_never_sold_short(signal: TrainingRun) -> None:
    data = open_dataset(signal.prepare())
    rows = evaluation_folds(data, TRAINING)[0].test
    falling = np.full(len(rows), -0.9)
    result = trade(data, rows, falling, entry_score=np.zeros(len(rows)), rules=RULES)
    assert result.metrics.fills == 0
    assert hold(data, rows, rules=RULES, position=0.0).metrics.net_pnl == 0


def test_scores_are_the_balance_of_rise_and_fall() -> None:
    np.testing.assert_allclose(score_of(np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]])), [0.3, -0.6])
