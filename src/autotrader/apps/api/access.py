"""Who may ask for what.

Reads are open to this machine. Everything else wants a bearer token with the scope: reads from
elsewhere `read`, whatever makes the trader do something `operate` or `approve`; `approve` includes
`operate`, and both include `read`.

"This machine" is more than the peer's address: a proxy here forwards the requests of strangers, and
a browser here sends what a stranger's page makes it send. So neither a forwarded request, nor one
that was sent to another name than this machine's (DNS rebinding), nor one that another site's page
made (of web sockets, a browser stops none) counts as one from here.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request

from autotrader.access.authentication import authenticate
from autotrader.apps.api.answers import Denied
from autotrader.domain.errors import Refused
from autotrader.ports.clock import WallClock
from autotrader.ports.tokens import Identity, Scope, Tokens

CREDENTIALS = "an Authorization header with a token"

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_INCLUDED = {
    Scope.READ: frozenset(Scope),
    Scope.OPERATE: frozenset({Scope.OPERATE, Scope.APPROVE}),
    Scope.APPROVE: frozenset({Scope.APPROVE}),
}


class Door:
    """Knows the tokens, and lets in whoever may.

    Parameters
    ----------
    tokens : Tokens
    clock : WallClock
    """

    def __init__(self, tokens: Tokens, clock: WallClock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def admit(self, connection: HTTPConnection, scope: Scope) -> Identity | None:
        """Who it is; None for a read from this machine without a token.

        A token that is given must be a good one, wherever it comes from.

        Raises
        ------
        Denied
        Unreachable
            If tokens cannot be looked up.
        """
        token = bearer(connection)
        if token is None:
            if scope is Scope.READ and is_local(connection):
                return None
            where = "none" if scope is not Scope.READ else "none, from beyond this machine"
            raise Denied(HTTPStatus.UNAUTHORIZED, CREDENTIALS, where)
        identity = await run_in_threadpool(self.recognise, token)
        if not allows(identity, scope):
            had = ", ".join(sorted(identity.scopes))
            raise Denied(
                HTTPStatus.FORBIDDEN,
                f"the scope {scope}",
                f"{had} for {identity.name}: ask for a token with it",
            )
        return identity

    def recognise(self, token: str) -> Identity:
        """Whose token it is; raises Denied if nobody's, or no longer in force."""
        try:
            return authenticate(self._tokens, token, now=self._clock.now())
        except Refused as refused:
            expected, _, was = str(refused).removeprefix("expected ").partition(", was ")
            raise Denied(HTTPStatus.UNAUTHORIZED, expected, was) from None


def bearer(connection: HTTPConnection) -> str | None:
    """The token that came along; None where none did.

    Raises
    ------
    Denied
        If something else was to say who it is.
    """
    header = connection.headers.get("authorization")
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer":
        raise Denied(HTTPStatus.UNAUTHORIZED, CREDENTIALS, "another kind")
    return token.strip()


def requires(scope: Scope) -> Callable[[Request], object]:
    """A dependency of a route: the identity that asks, of at least this scope."""

    async def identity(request: Request) -> Identity | None:
        door: Door = request.app.state.door
        return await door.admit(request, scope)

    return identity


def allows(identity: Identity, scope: Scope) -> bool:
    """Whether one of the identity's scopes is this one, or includes it."""
    return not identity.scopes.isdisjoint(_INCLUDED[scope])


def is_local(connection: HTTPConnection) -> bool:
    """Whether it comes from this machine, and was meant for it."""
    if connection.client is None or not _is_loopback(connection.client.host):
        return False
    headers = connection.headers
    if any(name in headers for name in _FORWARDED):
        return False
    origin = headers.get("origin")
    sites = [f"//{headers.get('host', '')}", *([origin] if origin is not None else [])]
    return all(_names_this_machine(site) for site in sites)


@functools.lru_cache(maxsize=64)
def _names_this_machine(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and (host == "localhost" or _is_loopback(host))


@functools.lru_cache(maxsize=64)
def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
