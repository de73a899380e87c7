"""Stage 1: settings and secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator

from autotrader.config.settings import PREFIX, BrokerKind, Environment, Settings
from autotrader.readiness.findings import Finding, failed, not_applicable, ok, warning
from autotrader.readiness.secrets import guessable, openness, secret_files, secrets_of

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def look(*, settings: Settings) -> Iterator[Finding]:
    """Home, clock, listeners; that secrets are there, private, and no defaults."""
    yield _home(settings)
    yield _clock(settings)
    yield _listeners(settings)
    yield _missing(settings)
    yield _defaults(settings)
    yield _files(settings)


def _home(settings: Settings) -> Finding:
    home = settings.home.resolve()
    if not home.is_dir():
        return failed("home", f"{home} is not there", f"set {PREFIX}HOME, or start with `make quickstart`")
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        return failed("home", f"{home} cannot be written", "give it to the user that the platform runs as")
    return ok("home", f"{settings.environment.value}, {home}")


def _clock(settings: Settings) -> Finding:
    stands_at = settings.clock.market_time
    if stands_at is None:
        return ok("market clock", "market time is UTC now")
    reason = f"market time stands at {stands_at:%F %R} UTC"
    if settings.environment is Environment.PRODUCTION or settings.trading.live:
        return failed("market clock", reason, f"unset {PREFIX}CLOCK__MARKET_TIME")
    return not_applicable("market clock", f"{reason}: a replay")


def _listeners(settings: Settings) -> Finding:
    if settings.api.host in _LOOPBACK:
        return ok("API", f"listens on {settings.api.host}:{settings.api.port} alone")
    if settings.api.tls_certificate and settings.api.tls_key:
        return ok("API", f"listens on {settings.api.host}:{settings.api.port} with TLS")
    return warning(
        "API",
        f"listens on {settings.api.host}:{settings.api.port} without TLS: tokens travel in the clear",
        f"set {PREFIX}API__TLS_CERTIFICATE and {PREFIX}API__TLS_KEY, or end TLS before it",
    )


def _missing(settings: Settings) -> Finding:
    """Those without which a part that is switched on cannot work."""
    keys: dict[BrokerKind, dict[str, object]] = {
        BrokerKind.BINANCE: {
            "BINANCE__API_KEY": settings.binance.api_key,
            "BINANCE__API_SECRET": settings.binance.api_secret,
        },
        BrokerKind.OANDA: {
            "OANDA__TOKEN": settings.oanda.token,
            "OANDA__ACCOUNT": settings.oanda.account,
        },
    }
    wanted = dict(keys.get(settings.trading.broker, {}))
    if settings.environment is Environment.PRODUCTION:
        wanted |= {
            "SERVING__TOKEN": settings.serving.token,
            # MWAA lets in by role.
            **({} if settings.airflow.mwaa_environment else {"AIRFLOW__PASSWORD": settings.airflow.password}),
        }
    if settings.mail.user:
        wanted["MAIL__PASSWORD"] = settings.mail.password
    absent = [f"{PREFIX}{name}" for name, value in wanted.items() if not value]
    if absent:
        return failed(
            "secrets", f"{len(absent)} not set: {', '.join(absent)}", "set them in .env or your vault"
        )
    return ok("secrets", f"all {len(wanted)} that this configuration needs are set")


def _defaults(settings: Settings) -> Finding:
    found = dict(secrets_of(settings))
    weak = [f"{name} {why}" for name, value in found.items() if (why := guessable(value))]
    if weak:
        return failed(
            "strength of secrets",
            f"{len(weak)} of {len(found)} can be guessed: {'; '.join(weak)}",
            "make a new one with `openssl rand -hex 24`, and change it on both sides",
        )
    return ok("strength of secrets", f"none of {len(found)} is a default or short")


def _files(settings: Settings) -> Finding:
    there = secret_files(settings)
    open_ones = {path: mode for path in there if (mode := openness(path))}
    if open_ones:
        named = ", ".join(f"{path} ({mode})" for path, mode in open_ones.items())
        return failed(
            "files of secrets",
            f"{len(open_ones)} of {len(there)} can be read by others: {named}",
            f"chmod 600 {' '.join(map(str, open_ones))}, then change what was in them",
        )
    return ok("files of secrets", f"all {len(there)} can be read by their owner alone")
