"""The examples of a property are the same in every worker, whatever else it has imported."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

NAME = "numbers_of_a_module"


def drawn() -> list[int]:
    found: list[int] = []

    @settings(max_examples=100, derandomize=True)
    @given(st.integers(0, 10_000))
    def draw(number: int) -> None:
        found.append(number)

    draw()
    return found


def test_numbers_in_modules_are_no_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn()
    (tmp_path / f"{NAME}.py").write_text(f"NUMBERS = {list(range(5_000, 6_000))}")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(NAME)
    try:
        assert drawn() == before
    finally:
        del sys.modules[NAME]
