"""Secrets of the settings as files, for programs that read theirs from files."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from autotrader.config.settings import Settings
from autotrader.files import SECRET, write_atomically
from autotrader.monitoring.scene import PAGERDUTY_KEY, SLACK_URL, SMTP_PASSWORD


def keep_secrets(settings: Settings, folder: Path) -> None:
    """Write those that are set; a file whose setting is empty was put there by somebody, and stays."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found: dict[str, SecretStr | None] = {
        PAGERDUTY_KEY: settings.alerts.pagerduty_key,
        SLACK_URL: settings.alerts.slack_url,
        SMTP_PASSWORD: settings.mail.password,
    }
    for name, secret in found.items():
        if secret is not None:
            write_atomically(folder / name, secret.get_secret_value().encode(), mode=SECRET)
