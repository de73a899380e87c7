"""The report on a model that people look at: one HTML file without anything from outside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from autotrader.command import to_plain
from autotrader.config.settings import StrategySettings
from autotrader.training.backtest import BacktestResult
from autotrader.training.charts import calibration_chart, equity_chart, importance_chart, trials_chart
from autotrader.training.dataset import PreparedData
from autotrader.training.evaluation import CURVES_FILE, MODEL, Evaluation
from autotrader.training.gates import GATES, Decision, GateReport, GateResult, Kind, Outcome
from autotrader.training.integrity import Integrity
from autotrader.training.overfitting import Luck
from autotrader.training.search import FamilySearch
from autotrader.training.trials import TrialOutcome

_TEMPLATES = Path(__file__).parent / "templates"
_SHOW = {gate.name: gate.show for gate in GATES}


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict in plain words; `tone` is `good`, `fair` or `bad`."""

    title: str
    text: str
    tone: str


def write_report(
    path: Path,
    *,
    prepared: PreparedData,
    searches: Sequence[FamilySearch],
    evaluation: Evaluation,
    integrity: Integrity,
    luck: Luck,
    gates: GateReport,
    strategy: StrategySettings,
    judged_at: datetime,
) -> None:
    """Render the report into a file.

    Parameters
    ----------
    path : Path
    prepared, searches, evaluation, integrity, luck, gates, strategy
        What it is about.
    judged_at : datetime
        Wall time, UTC.
    """
    with np.load(Path(evaluation.folder) / CURVES_FILE) as file:
        curves = {name: (file[f"{name}_ts"], file[f"{name}_equity"]) for name in evaluation.metrics}
        probabilities, label = file["probabilities"], file["label"]
    skills = {
        s.family: [(t.number, t.skill, t.state == "complete") for t in s.trials if t.skill is not None]
        for s in searches
    }
    html = _template("model_report.html.j2").render(
        strategy=strategy,
        headline=headline(gates),
        prepared=prepared,
        evaluation=evaluation,
        model=evaluation.metrics[MODEL],
        skill=evaluation.skill,
        integrity=integrity,
        luck=luck,
        gates=gates,
        judged_at=judged_at,
        trials=[(t, t.number == s.best.number) for s in searches for t in s.trials],
        gate_value=_gate_value,
        gate_bound=_gate_bound,
        parameters=_parameters,
        # Drawn by us; names in them are our own settings and features.
        equity=Markup(equity_chart(curves)),  # noqa: S704
        calibration=Markup(calibration_chart(probabilities, label)),  # noqa: S704
        importance=Markup(importance_chart(evaluation.importance)),  # noqa: S704
        search=Markup(trials_chart(skills)),  # noqa: S704
    )
    path.write_text(html)


def write_backtest_report(
    path: Path,
    *,
    title: str,
    statement: str,
    prepared: PreparedData,
    strategy: StrategySettings,
    paths: Mapping[str, BacktestResult],
) -> None:
    """Render the report of a backtest on demand into a file.

    Parameters
    ----------
    path : Path
    title, statement : str
        What was asked for; what the window is, and what to beware of.
    prepared, strategy
        What it is about.
    paths : Mapping[str, BacktestResult]
        By name, as the model's report names them.
    """
    figures: dict[str, dict[str, float | None]] = {name: to_plain(r.metrics) for name, r in paths.items()}
    curves = {name: (r.ts, r.equity / r.capital) for name, r in paths.items()}
    html = _template("backtest_report.html.j2").render(
        title=title,
        statement=statement,
        prepared=prepared,
        strategy=strategy,
        paths=figures,
        figures=list(next(iter(figures.values()))),
        equity=Markup(equity_chart(curves)),  # noqa: S704  drawn by us
    )
    path.write_text(html)


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "share": _share,
        "words": _words,
        "instant": _instant,
        "sentence": _sentence,
    }
    return environment.get_template(name)


def headline(gates: GateReport) -> Headline:
    """What the gates come to, in words that nobody can take for more than they are."""
    performance = [r for r in gates.results if r.kind is Kind.PERFORMANCE]
    unsound = [r for r in gates.results if r.kind is Kind.INTEGRITY and r.outcome is not Outcome.PASS]
    counts = {o: sum(r.outcome is o for r in performance) for o in Outcome}
    tally = (
        f"Of {len(performance)} performance gates {counts[Outcome.PASS]} passed, "
        f"{counts[Outcome.FAIL]} failed, and {counts[Outcome.UNDECIDED]} could not be decided."
    )
    if unsound:
        names = ", ".join(r.name for r in unsound)
        return Headline(
            "Not sound",
            f"It must not be registered: {names} did not pass. What it seems to earn means nothing.",
            "bad",
        )
    if gates.decision is Decision.REJECTED:
        return Headline("Rejected", f"The model is sound, but did not show what it must. {tally}", "bad")
    if gates.decision is Decision.AWAITING_APPROVAL:
        return Headline("Awaiting approval", f"Two people must sign before it may go live. {tally}", "good")
    if counts[Outcome.PASS] == len(performance):
        return Headline("Passed every gate", tally, "good")
    return Headline(
        "Sound, but not shown to be good",
        f"It may be deployed on paper, because {gates.environment.value} enforces integrity alone. {tally} "
        "Nothing here says that it would earn money.",
        "fair",
    )


def _gate_value(result: GateResult) -> str:
    return "not measured" if result.value is None else _SHOW[result.name](result.value)


def _gate_bound(result: GateResult) -> str:
    signs = {">=": "≥", "<=": "≤"}
    return f"{signs.get(result.comparison, result.comparison)} {_SHOW[result.name](result.bound)}"


def _parameters(trial: TrialOutcome) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.parameters.items()
    )


def _number(value: float | None, digits: int = 2) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")


def _share(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{_number(100 * value, digits)} %"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
