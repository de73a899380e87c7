"""The bearer token that the prediction service expects and its callers send."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError

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
        return _read(path) if path.exists() else _make(path)
    except OSError as error:
        raise ConfigurationError(
            f"expected to keep the serving token in {path}, was: {error.strerror}: "
            "make the folder writable, or set AUTOTRADER_SERVING__TOKEN"
        ) from error


def _make(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    temporary.touch(mode=0o600, exist_ok=False)
    try:
        temporary.write_text(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):  # somebody was quicker: theirs counts
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()
    return _read(path)


def _read(path: Path) -> str:
    token = path.read_text().strip()
    if not token:
        raise ConfigurationError(f"expected a token in {path}, was empty: delete the file")
    return token
