"""The bearer token that the prediction service expects and its callers send."""

from __future__ import annotations

import secrets
from pathlib import Path

from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError, DependencyError
from autotrader.files import SECRET, storage_errors, write_new_atomically

TOKEN_FILE = "serving.token"  # noqa: S105 - its name


def serving_token(settings: Settings) -> str:
    """The token of the settings, or the one kept under home, made at first use.

    Whoever asks first makes it, and of several who ask at once all get the same. The file is
    readable by its owner alone.

    Raises
    ------
    ConfigurationError
        If the file cannot be made or read, or is empty.
    """
    if settings.serving.token is not None:
        return settings.serving.token.get_secret_value()
    path = settings.home / TOKEN_FILE
    try:
        with storage_errors(f"read {path}"):
            return _read(path) if path.exists() else _make(path)
    except DependencyError as error:
        raise ConfigurationError(
            f"expected to keep the serving token: {error}: or set AUTOTRADER_SERVING__TOKEN"
        ) from error


def _make(path: Path) -> str:
    write_new_atomically(path, secrets.token_urlsafe(32).encode(), mode=SECRET)
    return _read(path)  # somebody may have been quicker: theirs counts


def _read(path: Path) -> str:
    token = path.read_text().strip()
    if not token:
        raise ConfigurationError(f"expected a token in {path}, was empty: delete the file")
    return token
