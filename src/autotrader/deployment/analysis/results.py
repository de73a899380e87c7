"""What a check and a look at a rollout come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autotrader.domain.rollout import Outcome


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of a look.

    Attributes
    ----------
    name : str
    outcome : Outcome
    deciding : bool
        Whether a stage needs its pass. One that does not decide may still fail a rollout.
    reason : str
        One sentence with the numbers in it.
    evidence : Mapping[str, object]
        JSON-serialisable figures behind the sentence.
    """

    name: str
    outcome: Outcome
    deciding: bool
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """All checks at one moment; fails with any of them, passes when all that decide do."""

    outcome: Outcome
    reason: str
    checks: tuple[CheckResult, ...]

    @classmethod
    def of(cls, checks: Sequence[CheckResult], *, final: bool) -> Look:
        """Sum up.

        Parameters
        ----------
        checks : sequence of CheckResult
        final : bool
            The watch is over: what is undecided will not decide itself.
        """
        failed = [c.reason for c in checks if c.outcome is Outcome.FAIL]
        if failed:
            return cls(Outcome.FAIL, "; ".join(failed), tuple(checks))
        undecided = [c.reason for c in checks if c.deciding and c.outcome is Outcome.INCONCLUSIVE]
        deciding = [c for c in checks if c.deciding]
        if undecided or not deciding:
            begin = "undecided when the watch ended" if final else "not decided yet"
            return cls(
                Outcome.INCONCLUSIVE, f"{begin}: {'; '.join(undecided) or 'nothing decides'}", tuple(checks)
            )
        return cls(Outcome.PASS, "; ".join(c.reason for c in deciding), tuple(checks))


def percent(share: float) -> str:
    """`0.3 %`: two significant digits, or three from 10 % on."""
    value = 100 * share
    return f"{value:.3g} %" if value >= 10 else f"{value:.2g} %"


def odds(log_value: float) -> str:
    """`1 : 2,300` of the log of an e-value; the evidence stops counting at a billion."""
    return f"1 : {min(10.0**9, 2.718281828459045 ** min(log_value, 21.0)):,.0f}"
