"""Which secrets there are, where they lie, and which of them anybody could guess."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from autotrader.config.serving_token import TOKEN_FILE
from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.thresholds import READINESS

# What installation guides, images and examples put there.
_GUESSED = frozenset(
    """admin administrator airflow autotrader change-me change_me changeme default example grafana guest
    mlflow passw0rd password postgres postgresql redis root secret test testing token user""".split()  # noqa: SIM905
)


def secrets_of(settings: BaseModel, name: str = PREFIX) -> Iterator[tuple[str, str]]:
    """Variable and value of every secret that is set."""
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        if isinstance(value, SecretStr):
            yield f"{name}{field.upper()}", value.get_secret_value()
        elif isinstance(value, BaseModel):
            yield from secrets_of(value, f"{name}{field.upper()}__")


def guessable(value: str) -> str | None:
    """Why anybody could guess it, without the value; None if they could not."""
    secret = _password_of(value) if "://" in value else value
    if secret is None:
        return None
    if secret.casefold().strip("!1234567890") in _GUESSED:
        return "is a word that everybody tries"
    if len(set(secret)) < READINESS.secret_characters / 3:
        return f"has {len(set(secret))} different characters"
    if len(secret) < READINESS.secret_characters:
        return f"has {len(secret)} characters, expected {READINESS.secret_characters} or more"
    return None


def secret_files(settings: Settings) -> list[Path]:
    """Files that hold secrets and are there."""
    home = settings.home.resolve()
    known = [
        Path(".env").resolve(),
        home / TOKEN_FILE,
        home / "airflow" / "passwords.json",
        *sorted((home / "monitoring" / "secrets").glob("*")),
        *([settings.api.tls_key.resolve()] if settings.api.tls_key else []),
    ]
    return [path for path in known if path.is_file()]


def openness(path: Path) -> str | None:
    """Its mode, where others than its owner may read or write it; None where they may not."""
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"{mode:04o}" if mode & 0o077 else None


def _password_of(url: str) -> str | None:
    """Of a URL, its password; all of one that is a secret itself, such as a webhook's."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return url
    if parsed.get_backend_name() in ("http", "https"):
        return url
    return str(parsed.password) if parsed.password else None
