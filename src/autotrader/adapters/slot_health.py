"""What a prediction service says of itself, asked where it listens."""

from __future__ import annotations

import httpx

from autotrader.domain.errors import Unreachable
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import SlotHealth

HEALTH_SECONDS = 2.0


def ask_health(
    client: httpx.Client, endpoint: str, color: Color, *, memory_bytes: int | None = None
) -> SlotHealth:
    """Its own word; of what answers there and is none, or of another colour, that it is silent.

    Parameters
    ----------
    client : httpx.Client
        Whose patience is `HEALTH_SECONDS`.
    memory_bytes : int or None
        Of its process, where that was looked up; else what it says itself.

    Raises
    ------
    Unreachable
        If nothing answers.
    """
    url = f"{endpoint}/health"
    try:
        answer = client.get(url)
        said = answer.json()
        answered_by, version = said["color"], said["version"]
        live, ready = bool(said["live"]), answer.is_success and bool(said["ready"])
        reason, told = str(said["status"]), said.get("memory_bytes")
    except httpx.TransportError as error:
        raise Unreachable(f"{url} did not answer within {HEALTH_SECONDS:g} s ({error})") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        return silent(f"{url} did not answer as a prediction service: {answer.text[:200]}", memory_bytes)
    if answered_by != color:
        return silent(f"expected {color} at {url}, was {answered_by}", memory_bytes)
    memory = told if memory_bytes is None else memory_bytes
    return SlotHealth(live=live, ready=ready, version=version, reason=reason, memory_bytes=memory)


def silent(reason: str, memory_bytes: int | None = None) -> SlotHealth:
    """Of a colour that does not serve."""
    return SlotHealth(live=False, ready=False, version=None, reason=reason, memory_bytes=memory_bytes)
