"""One rule a gate: how its value is judged, and what it says of a window that is too short.

A gate's bound applies to the value measured over the whole evaluation window. On a shorter window
the value is an estimate of that, so it may condemn but not acquit: the gate fails where even the
favourable end of the confidence interval is on the wrong side, and is undecided otherwise. What
more data cannot take back decides at once: trades already made, a drawdown already suffered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from autotrader.domain import thresholds
from autotrader.training.gates.evidence import (
    BASELINES,
    CHAMPION,
    OPPONENTS_WITHOUT_CHAMPION,
    GateEvidence,
)
from autotrader.training.gates.gate import Gate, Outcome, Ruling

_LIMITS = thresholds.GATES
_Z = NormalDist().inv_cdf((1 + _LIMITS.confidence) / 2)


@dataclass(frozen=True, slots=True)
class _Window:
    """How much of the history that performance gates need was judged; days are 0 if not known."""

    days: float
    needed: float

    @property
    def is_full(self) -> bool:
        return self.days >= _LIMITS.window_coverage * self.needed

    def __str__(self) -> str:
        if self.days == 0.0:
            return "length of the window not known"
        return f"{self.days:,.0f} days" if self.is_full else f"{self.days:,.0f} of {self.needed:,.0f} days"


def _window(evidence: GateEvidence) -> _Window:
    asked = _finite(evidence.required_days)
    needed = math.inf if asked is None else max(asked, _LIMITS.minimum_evaluation_days)
    return _Window(max(_finite(evidence.evaluation_days) or 0.0, 0.0), needed)


def _compared_window(evidence: GateEvidence) -> _Window:
    """Of the comparison with the champion: where it is short, so is what it says of the two."""
    compared = evidence.champion_window
    return replace(_window(evidence), days=max(_finite(compared.days) or 0.0, 0.0) if compared else 0.0)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _not_measured(because: str = "") -> Ruling:
    return Ruling(None, Outcome.UNDECIDED, because)


def _final(gate: Gate, value: float, because: str = "") -> Ruling:
    return Ruling(value, Outcome.PASS if gate.holds(value) else Outcome.FAIL, because)


def _over_window(
    gate: Gate, value: float, window: _Window, *, favourable: float | None, because: str
) -> Ruling:
    """The value decides on a full window; on a short one only a hopeless favourable end does."""
    if window.is_full:
        return _final(gate, value, because)
    if favourable is not None and not gate.holds(favourable):
        return Ruling(value, Outcome.FAIL, because)
    return Ruling(value, Outcome.UNDECIDED, f"{because}, too short to decide")


def sharpe(gate: Gate, evidence: GateEvidence) -> Ruling:
    """The annual Sharpe ratio; undecided too where its standard error is large."""
    value, error = _finite(evidence.sharpe), _finite(evidence.sharpe_standard_error)
    window = _window(evidence)
    if value is None:
        return _not_measured()
    if error is None or error < 0:
        return Ruling(value, Outcome.UNDECIDED, f"standard error not known, {window}")
    because = f"standard error {error:.2f} on {window}"
    if window.is_full and error > _LIMITS.sharpe_standard_error and gate.holds(value + _Z * error):
        limit = _LIMITS.sharpe_standard_error
        return Ruling(value, Outcome.UNDECIDED, f"{because}, too uncertain to decide: at most {limit:.2f}")
    return _over_window(gate, value, window, favourable=value + _Z * error, because=because)


def drawdown(gate: Gate, evidence: GateEvidence) -> Ruling:
    """The largest drawdown: what was lost in a short window is lost in any that holds it."""
    value, window = _finite(evidence.max_drawdown), _window(evidence)
    if value is None:
        return _not_measured()
    return _over_window(gate, abs(value), window, favourable=abs(value), because=f"on {window}")


def win_rate(gate: Gate, evidence: GateEvidence) -> Ruling:
    """The share of winners; on a short window with Wilson's interval."""
    value, closed = _finite(evidence.win_rate), _finite(evidence.trades)
    window = _window(evidence)
    if value is None or closed is None or closed < 1:
        return _not_measured("no closed trade" if closed == 0 else "")
    upper = _wilson_upper(value, closed)
    because = f"{closed:,.0f} trades on {window}"
    return _over_window(gate, value, window, favourable=upper, because=because)


def trades(gate: Gate, evidence: GateEvidence) -> Ruling:
    """Closed trades: enough of them are enough at once, too few are projected on the window."""
    value, window = _finite(evidence.trades), _window(evidence)
    if value is None or value < 0:
        return _not_measured()
    if gate.holds(value):
        return Ruling(value, Outcome.PASS, f"on {window}")
    if window.days == 0.0:
        return Ruling(value, Outcome.UNDECIDED, str(window))
    # Upper confidence bound of a Poisson count by its variance-stabilising square root.
    likely = (math.sqrt(value + 1) + _Z / 2) ** 2 * window.needed / window.days
    return _over_window(gate, value, window, favourable=likely, because=f"on {window}")


def excess_pnl(gate: Gate, evidence: GateEvidence) -> Ruling:
    """Net PnL above that of the best baseline, as a share of capital."""
    pnl, capital = _finite(evidence.net_pnl), _finite(evidence.allocated_capital)
    baselines = {name: _finite(value) for name, value in (evidence.baselines or {}).items()}
    missing = [name for name in BASELINES if baselines.get(name) is None]
    if pnl is None or capital is None or capital <= 0 or missing:
        return _not_measured(f"no {' and no '.join(missing)} to compare with" if missing else "")
    worth = {name: value for name, value in baselines.items() if value is not None}
    best = max(worth, key=lambda name: worth[name])
    value, window = (pnl - worth[best]) / capital, _window(evidence)
    error = _finite(evidence.excess_standard_error)
    favourable = None
    # Against flat alone: what buy-and-hold made in a few weeks says little of what it makes in years.
    if error is not None and window.days > 0 and worth[best] <= 0:
        favourable = (value + _Z * error / capital) * window.needed / window.days
    because = f"net PnL {pnl:,.0f} against {worth[best]:,.0f} of {best} on {window}"
    return _over_window(gate, value, window, favourable=favourable, because=because)


def deflated_sharpe(gate: Gate, evidence: GateEvidence) -> Ruling:
    """The deflated Sharpe probability; it needs the number of trials behind it."""
    value, trials = _finite(evidence.deflated_sharpe_probability), _finite(evidence.trials)
    window = _window(evidence)
    if value is None or trials is None or trials < 1:
        return _not_measured("" if trials is not None and trials >= 1 else "number of trials not known")
    # The probability already weighs the window: one this low says that luck did better.
    hopeless = value <= 1 - gate.bound
    because = f"{trials:,.0f} trials on {window}"
    return _over_window(gate, value, window, favourable=value if hopeless else None, because=because)


def overfitting(gate: Gate, evidence: GateEvidence) -> Ruling:
    """The probability of backtest overfitting; a short window says nothing of it."""
    value, window = _finite(evidence.overfitting_probability), _window(evidence)
    if value is None:
        return _not_measured()
    return _over_window(gate, value, window, favourable=None, because=f"on {window}")


def calibration(gate: Gate, evidence: GateEvidence) -> Ruling:
    """The calibration error; decided by rows rather than days."""
    value, rows = _finite(evidence.calibration_error), _finite(evidence.calibration_rows)
    if value is None:
        return _not_measured()
    if rows is None or rows < _LIMITS.calibration_rows:
        had = "unknown number of rows" if rows is None else f"{rows:,.0f} rows"
        return Ruling(
            value, Outcome.UNDECIDED, f"{had}, too few to decide: at least {_LIMITS.calibration_rows:,}"
        )
    return _final(gate, value, f"{rows:,.0f} rows")


def calibration_computed(gate: Gate, evidence: GateEvidence) -> Ruling:
    """That a calibration error was measured at all, and on how many rows."""
    error, rows = _finite(evidence.calibration_error), _finite(evidence.calibration_rows)
    if error is None or rows is None:
        return _not_measured()
    return _final(gate, rows, f"expected calibration error {error:.3f}")


def challenger(gate: Gate, evidence: GateEvidence) -> Ruling:
    """The Sharpe ratio above the champion's, or above each stand-in's where there is none.

    With a champion it is the window of their comparison that has to be long enough.
    """
    if evidence.has_champion is None:
        return _not_measured("not known whether there is a champion")
    opponents = (CHAMPION,) if evidence.has_champion else OPPONENTS_WITHOUT_CHAMPION
    found = {name: (evidence.comparisons or {}).get(name) for name in opponents}
    fights = {name: fight for name, fight in found.items() if fight and math.isfinite(fight.value)}
    if missing := [name for name in opponents if name not in fights]:
        return _not_measured(f"no comparison with {', '.join(missing)}")
    window = _compared_window(evidence) if evidence.has_champion else _window(evidence)
    hardest = min(fights, key=lambda name: fights[name].value)
    value = fights[hardest].value
    lost = [n for n, f in fights.items() if not gate.holds(f.value + _Z * f.standard_error)]
    certain = [n for n in lost if math.isfinite(fights[n].standard_error)]
    champion = "" if evidence.has_champion else "no champion yet, "
    because = f"{champion}hardest opponent {hardest}, standard error "
    because += f"{fights[hardest].standard_error:.2f} on {window}"
    if evidence.has_champion and evidence.champion_window:
        compared = evidence.champion_window
        because += f" from {compared.first_ts:%Y-%m-%d} to {compared.last_ts:%Y-%m-%d}"
    favourable = min(fights[n].value for n in certain) if certain else None
    return _over_window(gate, value, window, favourable=favourable, because=because)


def leakage(gate: Gate, evidence: GateEvidence) -> Ruling:
    """Leaks found."""
    return _measured(gate, evidence.leaks)


def schema(gate: Gate, evidence: GateEvidence) -> Ruling:
    """Columns that differ from the feature set's."""
    return _measured(gate, evidence.schema_mismatches)


def parity(gate: Gate, evidence: GateEvidence) -> Ruling:
    """Batch against live."""
    return _measured(gate, evidence.parity_difference)


def onnx(gate: Gate, evidence: GateEvidence) -> Ruling:
    """ONNX against the original."""
    return _measured(gate, evidence.onnx_difference)


def _measured(gate: Gate, value: float | None) -> Ruling:
    known = _finite(value)
    return _not_measured() if known is None or known < 0 else _final(gate, known)


def _wilson_upper(share: float, n: float) -> float:
    """Upper end of Wilson's (1927) interval of a binomial share."""
    square = _Z * _Z
    centre = share + square / (2 * n)
    reach = _Z * math.sqrt(max(share * (1 - share), 0.0) / n + square / (4 * n * n))
    return (centre + reach) / (1 + square / n)
