"""Bearer tokens: how a person or a program says who it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from autotrader.ports.approvals import Role
from autotrader.ports.events import Event


class Scope(StrEnum):
    READ = "read"
    OPERATE = "operate"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody was proven to be.

    Attributes
    ----------
    name : str
        `alice`; with the prefix of the front end where another one authenticated (`airflow:alice`).
    scopes : frozenset of Scope
    roles : frozenset of Role
        For whom it may sign, given the scope `approve`.
    """

    name: str
    scopes: frozenset[Scope]
    roles: frozenset[Role] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What is kept of a token: enough to recognise it, not to use it.

    Attributes
    ----------
    id : str
        Public part, by which it is found, listed and revoked.
    sha256 : str
        Hex digest of the whole token.
    created_at, expires_at, revoked_at : datetime
        Wall time, UTC.
    """

    id: str
    identity: str
    scopes: tuple[Scope, ...]
    roles: tuple[Role, ...]
    sha256: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


@runtime_checkable
class Tokens(Protocol):
    """A change and its event are one transaction."""

    def add(self, token: StoredToken, event: Event) -> bool:
        """Keep a new token; False if its id is taken."""
        ...

    def find(self, token_id: str) -> StoredToken | None: ...

    def all(self) -> Sequence[StoredToken]:
        """Oldest first, revoked and expired ones too."""
        ...

    def revoke(self, token_id: str, at: datetime, event: Event) -> bool:
        """End it; False if it had ended already, by revocation.

        Raises
        ------
        NotFound
            If there is no such token.
        """
        ...
