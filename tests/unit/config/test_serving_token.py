"""The token that the prediction service and its callers share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autotrader.config.serving_token import TOKEN_FILE, serving_token
from autotrader.config.settings import load_settings
from autotrader.domain.errors import ConfigurationError


def test_the_setting_wins_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("AUTOTRADER_SERVING__TOKEN", "given")
    assert serving_token(load_settings()) == "given"
    assert not home.exists()


def test_one_is_made_once_readable_by_its_owner_alone(home: Path) -> None:
    settings = load_settings()
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: serving_token(settings), range(32)))
    assert len(tokens) == 1
    assert len(tokens.pop()) >= 32
    assert [p.name for p in home.iterdir()] == [TOKEN_FILE]
    assert (home / TOKEN_FILE).stat().st_mode & 0o777 == 0o600


def test_an_empty_file_is_told_rather_than_taken_for_no_token(home: Path) -> None:
    home.mkdir()
    (home / TOKEN_FILE).touch()
    with pytest.raises(ConfigurationError, match="was empty"):
        serving_token(load_settings())


def test_a_home_that_is_no_folder_is_told(home: Path) -> None:
    home.write_text("")
    with pytest.raises(ConfigurationError, match="serving token"):
        serving_token(load_settings())
