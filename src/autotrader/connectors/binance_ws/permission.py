"""Whether orders may go to where the settings point."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.credentials import TEST_NETS
from autotrader.domain.errors import ConfigurationError, Refused


def require_permission(settings: BinanceSettings, *, live: bool) -> None:
    """Let through what is play, or what somebody has switched on.

    Raises
    ------
    Refused
        If real orders would go out, and the switch is off.
    ConfigurationError
        If orders and the stream that tells of them are of different worlds.
    """
    play = {url: is_play(url) for url in (settings.rest_url, settings.account_stream_url)}
    if len(set(play.values())) > 1:
        raise ConfigurationError(
            f"expected rest_url and account_stream_url both at the venue or both not, was {', '.join(play)}: "
            "set AUTOTRADER_BINANCE__ACCOUNT_STREAM_URL, too"
        )
    if not live and not all(play.values()):
        raise Refused(
            f"expected a test net or loopback, was {settings.rest_url}, where orders cost money: "
            "set AUTOTRADER_TRADING__LIVE=true if that is meant"
        )


def is_play(url: str) -> bool:
    """Whether it is on this machine, or a test net of the venue."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or any(host == net or host.endswith(f".{net}") for net in TEST_NETS):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
