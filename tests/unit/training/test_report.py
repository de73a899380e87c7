"""The report: everything in one file, and no words that say more than the numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from autotrader.config.settings import Environment
from autotrader.training.charts import calibration_chart, equity_chart, importance_chart, trials_chart
from autotrader.training.gates import Decision, GateReport, Kind, Outcome
from autotrader.training.report import headline
from tests.fakes.training_run import TrainingRun


def page(run: TrainingRun) -> str:
    return Path(run.validate().report_path).read_text()


def gate_report(run: TrainingRun, environment: Environment = Environment.DEV) -> GateReport:
    validation = run.validate(environment)
    return GateReport(environment, validation.gates, validation.decision, validation.reasons)


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_is_loaded_from_outside(signal: TrainingRun) -> None:
    elements = Elements(page(signal)).found
    assert not {tag for tag, _ in elements} & {"script", "link", "img", "iframe", "object"}
    references = [
        v for _, attributes in elements for n, v in attributes.items() if n.endswith(("href", "src"))
    ]
    assert all(v is not None and v.startswith("#") for v in references)
    assert not re.search(r"url\((?!#)", page(signal))
    assert "@import" not in page(signal)


def test_pictures_do_not_share_identifiers(signal: TrainingRun) -> None:
    named = [a["id"] for tag, a in Elements(page(signal)).found if "id" in a and tag in {"clippath", "path"}]
    assert len(named) == len(set(named)) > 4


def test_simulated_data_is_called_so_and_recorded_data_is_not(
    signal: TrainingRun, noise: TrainingRun
) -> None:
    assert signal.prepare().simulated
    assert "SIMULATED DATA" in page(signal)
    assert "SIMULATED" not in page(noise)


def test_every_gate_is_there_with_its_reason(noise: TrainingRun) -> None:
    text = page(noise)
    for gate in noise.validate().gates:
        assert gate.name.replace("_", " ") in text
        assert gate.reason.replace("'", "&#39;").replace(">", "&gt;") in text
    assert text.count('class="pill undecided"') == sum(
        g.outcome is Outcome.UNDECIDED for g in noise.validate().gates
    )


def test_every_trial_fold_and_instrument_is_there(signal: TrainingRun) -> None:
    text = page(signal)
    for instrument in signal.prepare().instruments:
        assert f"{instrument.rows:,}" in text
    assert text.count('class="pill complete"') + text.count('class="pill pruned"') == 6
    for fold in signal.evaluate().folds:
        assert f"{fold.test_start:%Y-%m-%d %H:%M}" in text
    assert signal.prepare().sha256 in text


def test_an_unproven_model_is_not_praised(noise: TrainingRun) -> None:
    said = headline(gate_report(noise))
    assert (said.title, said.tone) == ("Sound, but not shown to be good", "fair")
    assert "Nothing here says that it would earn money" in said.text


def test_each_decision_has_its_words(signal: TrainingRun) -> None:
    report = gate_report(signal)
    passed = tuple(replace(g, outcome=Outcome.PASS) for g in report.results)
    leaking = tuple(replace(g, outcome=Outcome.FAIL) if g.name == "no_leakage" else g for g in passed)
    assert headline(replace(report, results=passed)).title == "Passed every gate"
    assert headline(replace(report, results=leaking, decision=Decision.REJECTED)).title == "Not sound"
    waiting = replace(report, results=passed, decision=Decision.AWAITING_APPROVAL)
    assert headline(waiting).title == "Awaiting approval"
    assert headline(gate_report(signal, Environment.STAGING)).title == "Rejected"
    assert sum(g.kind is Kind.PERFORMANCE for g in passed) == 9


def test_text_is_escaped(signal: TrainingRun) -> None:
    assert "<script" not in page(signal)
    assert "&gt;" in page(signal)


@pytest.mark.parametrize("points", [2, 50, 20_000])
def test_pictures_are_the_same_each_time_and_bear_no_fixed_colour(points: int) -> None:
    ts = np.datetime64("2024-02-01") + np.arange(points) * np.timedelta64(1, "m")
    equity = 1 + np.cumsum(np.random.default_rng(0).normal(0, 1e-3, points))
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet([1, 1, 1], 300)
    label = generator.integers(-1, 2, 300).astype(np.int8)
    for draw in (
        lambda: equity_chart({"model": (ts, equity), "flat": (ts, np.ones(points))}),
        lambda: calibration_chart(probabilities, label),
        lambda: importance_chart({"rsi_14": 0.7, "hour": 0.3}),
        lambda: trials_chart({"logistic": [(0, 0.01, True), (1, -0.02, False)], "lightgbm": []}),
    ):
        svg = draw()
        assert svg == draw()
        assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]", svg)
        assert "var(--" in svg
        assert len(svg) < 200_000
