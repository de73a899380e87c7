"""Version numbers: read, ordered, never given twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.registry.semver import Semver, next_semver

PART = st.integers(0, 999_999)
SEMVERS = st.builds(Semver, PART, PART, PART)


@given(SEMVERS)
@settings(max_examples=50)
def test_what_is_printed_is_read_back(semver: Semver) -> None:
    assert Semver.parse(str(semver)) == semver


@pytest.mark.parametrize("text", ["1.2.3", "v1.2", "v1.2.3.4", "v1.2.x", "v-1.2.3", "V1.2.3", "", "v1.2.3\n"])
def test_another_form_is_no_semver(text: str) -> None:
    assert Semver.parse(text) is None


def test_the_first_is_v1_0_0() -> None:
    assert str(next_semver([])) == "v1.0.0"


def test_the_next_is_a_minor_one_after_the_newest_not_the_last_listed() -> None:
    taken = [Semver(1, 10, 2), Semver(1, 9, 7), Semver(0, 99, 0)]
    assert str(next_semver(taken)) == "v1.11.0"


@given(st.lists(SEMVERS, max_size=20))
@settings(max_examples=50)
def test_the_next_is_newer_than_all_that_are_taken(taken: list[Semver]) -> None:
    assert all(next_semver(taken) > semver for semver in taken)
