"""The login of Airflow's API on this machine."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from autotrader.config.settings import Settings
from autotrader.files import SECRET, write_atomically

PASSWORDS = "passwords.json"


def folder(settings: Settings) -> Path:
    """Airflow's own, below home."""
    return settings.home.resolve() / "airflow"


def password(settings: Settings) -> str:
    """The login's password: the setting, or one made at first use and kept in a private file."""
    if settings.airflow.password:
        return settings.airflow.password.get_secret_value()
    path = folder(settings) / PASSWORDS
    if path.exists():
        kept: dict[str, str] = json.loads(path.read_text())
        if settings.airflow.user in kept:
            return kept[settings.airflow.user]
    return secrets.token_urlsafe(12)


def keep_password(settings: Settings) -> None:
    """Write the login where Airflow's API server looks it up, whole or not at all."""
    path = folder(settings) / PASSWORDS
    content = json.dumps({settings.airflow.user: password(settings)})
    if path.exists() and path.read_text() == content:
        return
    write_atomically(path, content.encode(), mode=SECRET)
