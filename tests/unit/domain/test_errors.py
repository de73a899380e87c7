"""Errors: what the shell is told, and how they group."""

from __future__ import annotations

import pytest

from autotrader.domain import errors
from autotrader.domain.errors import AutotraderError, DependencyError, ExitCode, Throttled, Unreachable


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("AutotraderError", 1),
        ("ConfigurationError", 2),
        ("BadData", 1),
        ("NotFound", 1),
        ("Refused", 4),
        ("DependencyError", 1),
        ("Unreachable", 3),
        ("Throttled", 3),
        ("Rejected", 1),
    ],
)
def test_each_error_has_the_exit_code_that_the_tree_says(name: str, exit_code: int) -> None:
    assert getattr(errors, name).exit_code == exit_code


def test_every_error_is_in_the_tree_of_the_docstring() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, AutotraderError)]
    assert len(kinds) == 9
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)


def test_a_caller_that_retries_what_is_unreachable_retries_what_is_throttled() -> None:
    error = Throttled("expected 200, was 429", retry_after_seconds=2.5)
    assert isinstance(error, Unreachable)
    assert isinstance(error, DependencyError)
    assert error.retry_after_seconds == 2.5
    assert str(error) == "expected 200, was 429"


def test_exit_codes_are_those_of_the_contract() -> None:
    assert {c.name: int(c) for c in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "REFUSED": 4,
    }
