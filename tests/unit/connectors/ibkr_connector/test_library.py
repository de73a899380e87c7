"""The client library is a choice with a default."""

from __future__ import annotations

import importlib.util

import pytest

from autotrader.connectors.ibkr_connector import library
from autotrader.domain.errors import ConfigurationError


def only(monkeypatch: pytest.MonkeyPatch, *installed: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found(name) if name in installed else None)


def test_the_maintained_library_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "ib_async", "ib_insync")
    assert library.load("auto").__name__ == "ib_async"


def test_its_ancestor_serves_where_it_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "ib_insync")
    assert library.load("auto").__name__ == "ib_insync"


@pytest.mark.parametrize("name", library.LIBRARIES)
def test_either_can_be_demanded(name: str) -> None:
    assert library.load(name).__name__ == name


def test_a_library_that_is_not_there_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "ib_insync")
    with pytest.raises(ConfigurationError, match=r"ib_async.*autotrader\[ibkr\]"):
        library.load("ib_async")
