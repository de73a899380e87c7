import itertools
import math
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.config.settings import Environment
from autotrader.domain import thresholds
from autotrader.training.gates import (
    GATES,
    Decision,
    GateEvidence,
    GateReport,
    GateResult,
    Kind,
    Outcome,
    Window,
    evaluate_gates,
)
from autotrader.training.gates.evidence import OPPONENTS_WITHOUT_CHAMPION
from autotrader.training.statistics import Difference

GOOD = GateEvidence(
    required_days=730,
    evaluation_days=730,
    sharpe=2.6,
    sharpe_standard_error=0.75,
    max_drawdown=0.08,
    win_rate=0.58,
    trades=900,
    net_pnl=60_000,
    allocated_capital=100_000,
    baselines={"flat": 0.0, "buy_and_hold": 20_000.0},
    excess_standard_error=15_000,
    deflated_sharpe_probability=0.97,
    trials=54,
    overfitting_probability=0.1,
    calibration_error=0.02,
    calibration_rows=200_000,
    has_champion=True,
    comparisons={"champion": Difference(0.2, 0.3)},
    champion_window=Window(datetime(2022, 11, 1, tzinfo=UTC), datetime(2024, 10, 30, tzinfo=UTC), 729),
    leaks=0,
    schema_mismatches=0,
    parity_difference=0.0,
    onnx_difference=2e-7,
)
# 107 recorded days less a training window of 90, as a first run sees them.
SHORT = replace(
    GOOD,
    evaluation_days=17,
    sharpe=0.84,
    sharpe_standard_error=4.1,
    trades=60,
    net_pnl=800,
    excess_standard_error=2_500,
    deflated_sharpe_probability=0.4,
    overfitting_probability=0.4,
    has_champion=False,
    comparisons={n: Difference(-0.5, 3.0) for n in ("flat", "buy_and_hold", "shuffled_labels")},
)


def report(evidence: GateEvidence, environment: Environment = Environment.STAGING) -> GateReport:
    return evaluate_gates(evidence, environment=environment)


def gate(name: str, evidence: GateEvidence) -> GateResult:
    return {r.name: r for r in report(evidence).results}[name]


def test_the_bounds_are_those_of_the_contract() -> None:
    assert {g.name: (g.comparison, g.bound) for g in GATES} == {
        "sharpe": (">", 2.0),
        "max_drawdown": ("<", 0.15),
        "win_rate": (">", 0.55),
        "trades": (">", 100),
        "net_pnl_above_baseline": (">=", 0.10),
        "deflated_sharpe_probability": (">=", 0.95),
        "backtest_overfitting": ("<=", 0.2),
        "calibration_error": ("<=", 0.05),
        "challenger": (">=", 0),
        "no_leakage": ("<=", 0),
        "schema": ("<=", 0),
        "batch_live_parity": ("<=", 1e-9),
        "onnx_equality": ("<=", 1e-5),
        "calibration_computed": (">", 0),
    }
    assert all(g.source for g in GATES)


def test_a_good_model_passes_every_gate() -> None:
    assert {r.outcome for r in report(GOOD).results} == {Outcome.PASS}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("sharpe", {"sharpe": 2.0}),
        ("max_drawdown", {"max_drawdown": 0.15}),
        ("max_drawdown", {"max_drawdown": -0.2}),
        ("win_rate", {"win_rate": 0.55}),
        ("trades", {"trades": 100}),
        ("net_pnl_above_baseline", {"net_pnl": 29_999}),
        ("net_pnl_above_baseline", {"net_pnl": 9_999, "baselines": {"flat": 0.0, "buy_and_hold": -5e4}}),
        ("deflated_sharpe_probability", {"deflated_sharpe_probability": 0.949}),
        ("backtest_overfitting", {"overfitting_probability": 0.21}),
        ("calibration_error", {"calibration_error": 0.051}),
        ("challenger", {"comparisons": {"champion": Difference(-0.01, 0.3)}}),
        ("no_leakage", {"leaks": 1}),
        ("schema", {"schema_mismatches": 1}),
        ("batch_live_parity", {"parity_difference": 1e-8}),
        ("onnx_equality", {"onnx_difference": 1e-3}),
        ("calibration_computed", {"calibration_rows": 0}),
    ],
)
def test_on_a_full_window_each_gate_fails_just_beyond_its_bound(name: str, wrong: dict[str, object]) -> None:
    evidence = replace(GOOD, **wrong)  # type: ignore[arg-type]
    assert gate(name, evidence).outcome is Outcome.FAIL
    assert report(evidence).decision is Decision.REJECTED


def test_the_reason_reads_as_a_sentence_with_its_numbers() -> None:
    assert gate("sharpe", SHORT).reason == (
        "Sharpe 0.84 is not above 2.00 "
        "(standard error 4.10 on 17 of 730 days, too short to decide): undecided"
    )
    assert gate("sharpe", GOOD).reason == (
        "Sharpe 2.60 is above 2.00 (standard error 0.75 on 730 days): pass"
    )
    assert gate("no_leakage", replace(GOOD, leaks=3)).reason == ("Number of leaks 3 is not at most 0: fail")
    assert "60,000 against 20,000 of buy_and_hold" in gate("net_pnl_above_baseline", GOOD).reason


def test_seventeen_days_decide_little_and_acquit_nobody_of_anything_but_what_is_done() -> None:
    outcomes = {r.name: r.outcome for r in report(SHORT).results if r.kind is Kind.PERFORMANCE}
    assert outcomes == {
        "sharpe": Outcome.UNDECIDED,
        "max_drawdown": Outcome.UNDECIDED,
        "win_rate": Outcome.UNDECIDED,
        "trades": Outcome.UNDECIDED,
        "net_pnl_above_baseline": Outcome.UNDECIDED,
        "deflated_sharpe_probability": Outcome.UNDECIDED,
        "backtest_overfitting": Outcome.UNDECIDED,
        "calibration_error": Outcome.PASS,
        "challenger": Outcome.UNDECIDED,
    }


def test_a_splendid_fortnight_is_still_undecided() -> None:
    splendid = replace(GOOD, evaluation_days=17, sharpe=15.0, sharpe_standard_error=4.6, win_rate=0.9)
    assert gate("sharpe", splendid).outcome is Outcome.UNDECIDED
    assert gate("win_rate", splendid).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(
    ("name", "hopeless"),
    [
        ("sharpe", {"sharpe": -9.0}),
        ("max_drawdown", {"max_drawdown": 0.16}),
        ("win_rate", {"win_rate": 0.3}),
        ("trades", {"trades": 0, "evaluation_days": 300}),
        ("net_pnl_above_baseline", {"net_pnl": -5_000.0, "baselines": {"flat": 0.0, "buy_and_hold": -1.0}}),
        ("deflated_sharpe_probability", {"deflated_sharpe_probability": 0.01}),
        ("challenger", {"has_champion": True, "comparisons": {"champion": Difference(-9.0, 3.0)}}),
    ],
)
def test_a_short_window_condemns_what_no_luck_could_mend(name: str, hopeless: dict[str, object]) -> None:
    assert gate(name, replace(SHORT, **hopeless)).outcome is Outcome.FAIL  # type: ignore[arg-type]


def test_a_rally_of_a_fortnight_does_not_condemn_who_sat_it_out() -> None:
    rally = replace(SHORT, baselines={"flat": 0.0, "buy_and_hold": 40_000.0})
    assert gate("net_pnl_above_baseline", rally).outcome is Outcome.UNDECIDED


def test_trades_that_were_made_cannot_be_taken_back() -> None:
    assert gate("trades", replace(SHORT, trades=101)).outcome is Outcome.PASS


def test_asking_for_a_short_window_does_not_make_it_long_enough() -> None:
    asked_for = replace(GOOD, required_days=17, evaluation_days=17)
    assert gate("sharpe", asked_for).outcome is Outcome.UNDECIDED
    assert "17 of 365 days" in gate("max_drawdown", asked_for).reason


def test_a_window_may_lose_some_hours_to_purging() -> None:
    assert gate("max_drawdown", replace(GOOD, evaluation_days=729.2)).outcome is Outcome.PASS
    assert gate("max_drawdown", replace(GOOD, evaluation_days=700.0)).outcome is Outcome.UNDECIDED


def test_a_sharpe_that_is_too_uncertain_is_undecided_on_any_window() -> None:
    unsure = replace(GOOD, sharpe_standard_error=1.5)
    assert gate("sharpe", unsure).outcome is Outcome.UNDECIDED
    assert "too uncertain" in gate("sharpe", unsure).reason
    assert gate("sharpe", replace(unsure, sharpe=-2.0)).outcome is Outcome.FAIL


def test_few_rows_decide_nothing_of_calibration() -> None:
    assert gate("calibration_error", replace(GOOD, calibration_rows=999)).outcome is Outcome.UNDECIDED


def test_without_a_champion_all_three_stand_ins_must_be_met() -> None:
    met = {n: Difference(0.5, 0.1) for n in ("flat", "buy_and_hold", "shuffled_labels")}
    alone = replace(GOOD, has_champion=False, comparisons=met)
    assert gate("challenger", alone).outcome is Outcome.PASS
    for name in met:
        beaten = replace(alone, comparisons=met | {name: Difference(-0.1, 0.1)})
        absent = replace(alone, comparisons={n: d for n, d in met.items() if n != name})
        assert gate("challenger", beaten).outcome is Outcome.FAIL
        assert name in gate("challenger", beaten).reason
        assert gate("challenger", absent).outcome is Outcome.UNDECIDED


WEEK = Window(datetime(2024, 10, 21, tzinfo=UTC), datetime(2024, 10, 30, tzinfo=UTC), 9)


@pytest.mark.parametrize(
    ("duel", "window", "outcome"),
    [
        (Difference(3.0, 4.2), WEEK, Outcome.UNDECIDED),
        (Difference(-3.0, 4.2), WEEK, Outcome.UNDECIDED),
        (Difference(-9.0, 4.2), WEEK, Outcome.FAIL),  # not even the favourable end is above
        (Difference(3.0, 0.3), None, Outcome.UNDECIDED),
        (Difference(0.1, 0.3), GOOD.champion_window, Outcome.PASS),
        (Difference(-0.1, 0.3), GOOD.champion_window, Outcome.FAIL),
    ],
)
def test_the_duel_is_decided_by_the_days_of_the_duel(
    duel: Difference, window: Window | None, outcome: Outcome
) -> None:
    """Whatever the length of the window that the other gates judge: it is full here."""
    found = gate("challenger", replace(GOOD, comparisons={"champion": duel}, champion_window=window))
    assert found.outcome is outcome, found.reason
    if window is WEEK:
        assert "standard error 4.20 on 9 of 730 days from 2024-10-21 to 2024-10-30" in found.reason


def test_stand_ins_are_judged_by_the_whole_window() -> None:
    met = {name: Difference(0.5, 0.3) for name in OPPONENTS_WITHOUT_CHAMPION}
    alone = replace(GOOD, has_champion=False, comparisons=met, champion_window=None)
    assert gate("challenger", alone).outcome is Outcome.PASS


def test_stand_ins_do_not_stand_in_for_a_champion_that_exists() -> None:
    met = {n: Difference(0.5, 0.1) for n in ("flat", "buy_and_hold", "shuffled_labels")}
    assert gate("challenger", replace(GOOD, comparisons=met)).outcome is Outcome.UNDECIDED
    assert gate("challenger", replace(GOOD, has_champion=None)).outcome is Outcome.UNDECIDED


def test_dev_lets_an_honest_model_through_and_says_what_it_lacks() -> None:
    found = report(SHORT, Environment.DEV)
    assert found.decision is Decision.PROMOTED
    assert all(r.enforced == (r.kind is Kind.INTEGRITY) for r in found.results)
    assert len(found.reasons) == 8
    assert all(reason.startswith("advisory: ") for reason in found.reasons)


def test_dev_holds_back_a_model_without_integrity_however_well_it_does() -> None:
    for broken in ({"leaks": 1}, {"leaks": None}, {"onnx_difference": 0.1}, {"calibration_error": None}):
        found = report(replace(GOOD, **broken), Environment.DEV)  # type: ignore[arg-type]
        assert found.decision is Decision.REJECTED
        assert not found.reasons[0].startswith("advisory")


def test_staging_enforces_every_gate() -> None:
    assert report(GOOD, Environment.STAGING).decision is Decision.PROMOTED
    assert report(SHORT, Environment.STAGING).decision is Decision.REJECTED
    assert all(r.enforced for r in report(GOOD, Environment.STAGING).results)


def test_production_wants_two_signatures_besides() -> None:
    assert report(GOOD, Environment.PRODUCTION).decision is Decision.AWAITING_APPROVAL
    assert report(SHORT, Environment.PRODUCTION).decision is Decision.REJECTED


def test_the_table_has_a_row_for_every_gate() -> None:
    table = report(SHORT).columns()
    assert {len(column) for column in table.values()} == {len(GATES)}
    assert table["name"] == [g.name for g in GATES]


# What makes each figure better: +1 more, -1 less. The rest have no better or worse.
BETTER = {
    "evaluation_days": 1,
    "sharpe": 1,
    "sharpe_standard_error": -1,
    "max_drawdown": -1,
    "win_rate": 1,
    "trades": 1,
    "net_pnl": 1,
    "excess_standard_error": -1,
    "deflated_sharpe_probability": 1,
    "overfitting_probability": -1,
    "calibration_error": -1,
    "calibration_rows": 1,
    "leaks": -1,
    "schema_mismatches": -1,
    "parity_difference": -1,
    "onnx_difference": -1,
}
MEASURED = [f.name for f in fields(GateEvidence) if f.name != "required_days"]
PLAUSIBLE = {
    "evaluation_days": st.floats(0, 1_500),
    "sharpe": st.floats(-10, 10),
    "sharpe_standard_error": st.floats(0, 8),
    "max_drawdown": st.floats(0, 1),
    "win_rate": st.floats(0, 1),
    "trades": st.integers(0, 500),
    "net_pnl": st.floats(-1e5, 1e5),
    "excess_standard_error": st.floats(0, 1e5),
    "deflated_sharpe_probability": st.floats(0, 1),
    "overfitting_probability": st.floats(0, 1),
    "calibration_error": st.floats(0, 0.2),
    "calibration_rows": st.integers(0, 5_000),
    "leaks": st.integers(0, 2),
    "schema_mismatches": st.integers(0, 2),
    "parity_difference": st.floats(0, 1e-8),
    "onnx_difference": st.floats(0, 1e-4),
}


@st.composite
def some_evidence(draw: st.DrawFn) -> GateEvidence:
    figures = {name: draw(values) for name, values in PLAUSIBLE.items()}
    duel = Difference(draw(st.floats(-5, 5)), draw(st.floats(0, 5)))
    return replace(GOOD, **figures, comparisons={"champion": duel})


@settings(max_examples=100)
@given(evidence=some_evidence(), name=st.sampled_from(sorted(BETTER)), data=st.data())
def test_what_gets_better_never_turns_a_pass_into_anything_else(
    evidence: GateEvidence, name: str, data: st.DataObject
) -> None:
    other = data.draw(PLAUSIBLE[name])
    low, high = sorted((getattr(evidence, name), other))
    worse, better = (low, high) if BETTER[name] > 0 else (high, low)
    before, after = (report(replace(evidence, **{name: value})) for value in (worse, better))
    for was, became in zip(before.results, after.results, strict=True):
        if was.outcome is Outcome.PASS:
            assert became.outcome is Outcome.PASS, (was.reason, became.reason)


@settings(max_examples=100)
@given(evidence=some_evidence(), gain=st.floats(0, 5))
def test_a_better_duel_never_loses_the_challenge(evidence: GateEvidence, gain: float) -> None:
    assert evidence.comparisons is not None
    duel = evidence.comparisons["champion"]
    better = replace(evidence, comparisons={"champion": replace(duel, value=duel.value + gain)})
    if gate("challenger", evidence).outcome is Outcome.PASS:
        assert gate("challenger", better).outcome is Outcome.PASS


@settings(max_examples=100)
@given(evidence=some_evidence())
def test_production_is_never_more_lenient_than_staging_nor_staging_than_dev(evidence: GateEvidence) -> None:
    dev, staging, production = (
        report(evidence, e).decision is not Decision.REJECTED
        for e in (Environment.DEV, Environment.STAGING, Environment.PRODUCTION)
    )
    assert production == staging
    assert dev or not staging


@pytest.mark.parametrize("environment", list(Environment))
def test_nothing_measured_passes_nowhere(environment: Environment) -> None:
    found = report(GateEvidence(required_days=730), environment)
    assert found.decision is Decision.REJECTED
    assert {r.outcome for r in found.results} == {Outcome.UNDECIDED}


@pytest.mark.parametrize(
    ("name", "unknown"), list(itertools.product(MEASURED, [None, math.nan, math.inf, -math.inf]))
)
def test_a_figure_that_is_missing_or_none_never_passes_the_gates_that_need_it(
    name: str, unknown: float | None
) -> None:
    if isinstance(getattr(GOOD, name), dict | Window):
        unknown = None
    before = {r.name: r.outcome for r in report(GOOD).results}
    found = report(replace(GOOD, **{name: unknown}))  # type: ignore[arg-type]
    after = {r.name: r.outcome for r in found.results}
    if name == "excess_standard_error":  # needed on a short window only
        assert after == before
    elif name == "has_champion" and unknown is not None:
        return  # not a figure: its type admits no NaN
    else:
        assert after != before
        assert Outcome.FAIL not in after.values()
        assert found.decision is Decision.REJECTED


@pytest.mark.parametrize("unknown", [math.nan, math.inf])
def test_a_baseline_or_a_duel_that_was_not_measured_never_passes(unknown: float) -> None:
    baselines = replace(GOOD, baselines={"flat": 0.0, "buy_and_hold": unknown})
    assert gate("net_pnl_above_baseline", baselines).outcome is Outcome.UNDECIDED
    duel = replace(GOOD, comparisons={"champion": Difference(unknown, 0.1)})
    assert gate("challenger", duel).outcome is Outcome.UNDECIDED


def test_a_required_window_that_is_not_known_is_never_full() -> None:
    assert gate("max_drawdown", replace(GOOD, required_days=math.nan)).outcome is Outcome.UNDECIDED


def test_the_thresholds_stand_in_one_place() -> None:
    assert {g.bound for g in GATES if g.bound} == {
        thresholds.GATES.sharpe,
        thresholds.GATES.max_drawdown,
        thresholds.GATES.win_rate,
        thresholds.GATES.trades,
        thresholds.GATES.excess_net_pnl,
        thresholds.GATES.deflated_sharpe_probability,
        thresholds.GATES.overfitting_probability,
        thresholds.GATES.calibration_error,
        thresholds.GATES.parity_difference,
        thresholds.GATES.onnx_difference,
    }
