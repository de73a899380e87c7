"""The token with which Alertmanager and Prometheus ask the API: it expires, and somebody renews it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from autotrader.access.authentication import authenticate, id_of
from autotrader.config.settings import Settings
from autotrader.domain.errors import Refused
from autotrader.domain.thresholds import READINESS
from autotrader.monitoring.rules import SECRETS
from autotrader.monitoring.scene import PLATFORM_TOKEN
from autotrader.ports.clock import WallClock
from autotrader.ports.tokens import StoredToken, Tokens
from autotrader.readiness.findings import Finding, failed, not_applicable, ok, warning

# As scripts/lib/monitoring.sh makes it, and a person for AWS.
IDENTITY = "alertmanager"
_NATIVE, _COMPOSE = "scripts/setup-monitoring.sh", "scripts/monitoring.sh start"
_ELSEWHERE = f"{_NATIVE}, in Compose {_COMPOSE}, on AWS a new one in the secret metrics-token, and new tasks"
_SUBJECT = "token of Alertmanager"
_NAMED = re.compile(r'credentials_file: "?([^"\n]*platform[-_]token)')  # Terraform writes it with _


def token_finding(
    settings: Settings, tokens: Tokens, clock: WallClock, configuration: Callable[[], str | None]
) -> Finding:
    """Whether the token is in force, and for how long.

    Parameters
    ----------
    configuration : Callable
        That Alertmanager says it has, None where it does not answer; asked where files do not tell.
    """
    here = _files_here(settings)
    named = _NAMED.search(configuration() or "") if len(here) != 1 else None
    now = clock.now()
    if not here:
        return _of_identity(tokens, now, is_asked_for=named is not None)
    first, *others = here
    is_first = not others or named is None or named[1] == str(first)
    file = first if is_first else others[-1]  # named as containers see it
    try:
        text = file.read_text().strip()
        authenticate(tokens, text, now=now)
    except OSError as error:
        return failed(_SUBJECT, f"{file} cannot be read: {error.strerror}", here[file])
    except Refused as error:
        return failed(_SUBJECT, f"{file} is refused by the API: {error}", here[file])
    stored = tokens.find(id_of(text))
    assert stored is not None  # noqa: S101 - it was recognised
    return _judge(stored, now, here[file])


def _files_here(settings: Settings) -> dict[Path, str]:
    """What Alertmanagers of this machine read, and what makes it anew."""
    home = settings.home.resolve()
    folders = (("monitoring", _NATIVE), ("monitoring-compose", _COMPOSE))
    made = {home / folder / SECRETS / PLATFORM_TOKEN: todo for folder, todo in folders}
    return {path: todo for path, todo in made.items() if path.is_file()}


def _of_identity(tokens: Tokens, now: datetime, *, is_asked_for: bool) -> Finding:
    """The file is on another machine: the newest that was made for it is taken for the one in it."""
    made = [token for token in tokens.all() if token.identity == IDENTITY and token.revoked_at is None]
    if made:
        return _judge(max(made, key=lambda token: token.expires_at), now, _ELSEWHERE)
    if is_asked_for:
        return failed(_SUBJECT, f"0 tokens of {IDENTITY} were made, and it reads one", _ELSEWHERE)
    return not_applicable(_SUBJECT, "0 were made: nothing asks the API with one")


def _judge(token: StoredToken, now: datetime, todo: str) -> Finding:
    left = (token.expires_at - now).total_seconds() / 86_400
    until = f"{token.id} until {token.expires_at:%F}"
    if left <= 0:
        return failed(_SUBJECT, f"{until}: expired {-left:.0f} days ago, its requests are refused", todo)
    if left < READINESS.token_days:
        reason = f"{until}: {left:.0f} days left, expected {READINESS.token_days:g} or more"
        return warning(_SUBJECT, reason, todo)
    return ok(_SUBJECT, f"{until}: {left:.0f} days left")
