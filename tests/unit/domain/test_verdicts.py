"""Verdicts are as bad as their worst finding, and say why."""

from __future__ import annotations

from itertools import permutations

import pytest

from autotrader.domain.verdicts import Finding, Severity, Verdict, worst

HEALTHY, WARNING, CRITICAL = Severity.HEALTHY, Severity.WARNING, Severity.CRITICAL


@pytest.mark.parametrize("order", list(permutations(Severity)))
def test_the_worst_is_found_in_any_order(order: tuple[Severity, ...]) -> None:
    assert worst(order) is CRITICAL
    assert sorted(order, key=lambda s: s.rank) == [HEALTHY, WARNING, CRITICAL]


def test_of_nothing_the_worst_is_healthy() -> None:
    assert worst([]) is HEALTHY
    assert Verdict("bars").severity is HEALTHY
    assert Verdict("bars").reason == "all checks passed"


def test_a_verdict_gives_the_reasons_of_its_worst_findings_only() -> None:
    verdict = Verdict(
        "bars",
        (
            Finding("spikes", CRITICAL, "3 spikes"),
            Finding("missing_share", WARNING, "6 % are missing"),
            Finding("duplicates", HEALTHY, "no duplicates"),
            Finding("order", CRITICAL, "high below low"),
        ),
    )
    assert verdict.severity is CRITICAL
    assert verdict.reason == "3 spikes; high below low"


def test_where_all_is_healthy_no_finding_is_repeated() -> None:
    verdict = Verdict("bars", (Finding("duplicates", HEALTHY, "no duplicates"),))
    assert verdict.reason == "all checks passed"
