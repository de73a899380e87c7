"""Which code made a model, as its version is tagged."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.pipelines.training_steps import _git_sha


def test_an_image_tells_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_SHA", "abc123")
    assert _git_sha() == "abc123"


def test_where_there_is_no_git_it_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GIT_SHA", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _git_sha() == "unknown"
