"""Tokens: made, recognised, and read from where a secret may stand.

Only a digest is stored. A plain SHA-256 is enough, and no slow password hash is wanted: the secret is
256 random bits, which nobody finds by trying whatever a try costs, while a service that checks one
with each request must not be kept busy by those who only guess.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import os
import re
import secrets
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta

from autotrader.domain.errors import ConfigurationError, Refused
from autotrader.ports.approvals import Role
from autotrader.ports.tokens import Identity, Scope, StoredToken, Tokens

VARIABLE = "AUTOTRADER_TOKEN"
MAXIMUM_DAYS = 366

_PREFIX = "atk"
_FORM = re.compile(rf"{_PREFIX}_([0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}")
# No colon: names such as `airflow:alice` are of those whom another front end authenticated.
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")
_OF_NOBODY = "0" * 64


def issue(
    identity: str,
    scopes: Iterable[Scope],
    roles: Iterable[Role],
    *,
    days: int,
    actor: str,
    now: datetime,
) -> tuple[str, StoredToken]:
    """A new token, and what is to be kept of it.

    Returns
    -------
    str
        The token: an id and 256 random bits. Shown once, kept nowhere.
    StoredToken

    Raises
    ------
    ConfigurationError
        If name, scopes, roles or days are not as they must be.
    """
    scopes, roles = tuple(sorted(set(scopes))), tuple(sorted(set(roles)))
    if not _NAME.fullmatch(identity):
        raise ConfigurationError(
            f"expected an identity of small letters, digits and ._@- (at most 63), was {identity!r}"
        )
    if not scopes:
        raise ConfigurationError(f"expected scopes of {', '.join(Scope)}, were none")
    if roles and Scope.APPROVE not in scopes:
        raise ConfigurationError(
            f"expected no roles without the scope {Scope.APPROVE}, was {', '.join(roles)}"
        )
    if not 1 <= days <= MAXIMUM_DAYS:
        raise ConfigurationError(f"expected 1 to {MAXIMUM_DAYS} days until it expires, was {days}")
    token_id = secrets.token_hex(6)
    token = f"{_PREFIX}_{token_id}_{secrets.token_urlsafe(32)}"
    stored = StoredToken(
        id=token_id,
        identity=identity,
        scopes=scopes,
        roles=roles,
        sha256=_digest(token),
        created_by=actor,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    return token, stored


def authenticate(tokens: Tokens, token: str, *, now: datetime) -> Identity:
    """Whose token it is.

    Parameters
    ----------
    token : str
        As it was given; compared in constant time.
    now : datetime
        Wall time, UTC.

    Raises
    ------
    Refused
        If it is unknown, revoked or expired. Only who holds the whole token learns which.
    """
    token_id = id_of(token)
    stored = tokens.find(token_id) if token_id else None
    expected = stored.sha256 if stored else _OF_NOBODY
    if not hmac.compare_digest(_digest(token), expected) or stored is None:
        raise Refused("expected a token that is known here, was another: `autotrader token create` makes one")
    if stored.revoked_at is not None:
        raise Refused(f"expected a token in force, was revoked at {stored.revoked_at:%Y-%m-%d %H:%M} UTC")
    if now >= stored.expires_at:
        raise Refused(f"expected a token in force, was one until {stored.expires_at:%Y-%m-%d %H:%M} UTC")
    return Identity(stored.identity, frozenset(stored.scopes), frozenset(stored.roles))


def id_of(token: str) -> str:
    """The public part, by which a token is found; empty where it is none of ours."""
    form = _FORM.fullmatch(token)
    return form[1] if form else ""


def require_scope(identity: Identity, scope: Scope) -> None:
    """Raise Refused if the identity has not this scope."""
    if scope not in identity.scopes:
        raise Refused(
            f"expected the scope {scope}, was {', '.join(sorted(identity.scopes)) or 'none'} "
            f"for {identity.name}: ask for a token with it"
        )


def given_token() -> str:
    """The caller's token: of the environment, or typed without echo; never of the command line.

    Raises
    ------
    ConfigurationError
        If there is none, and nobody at a terminal to ask.
    """
    found = os.environ.get(VARIABLE, "").strip()
    if found:
        return found
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{VARIABLE}: expected a token, was empty and there is no terminal to ask")
    return getpass.getpass("Token: ").strip()


def _digest(token: str) -> str:
    # A surrogate, as of bytes that are no UTF-8, is part of no token; it must not be an error either.
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
