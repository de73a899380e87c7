"""How a component is, as one word with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ComponentStatus(StrEnum):
    """UNKNOWN: not configured, not running, or not asked yet."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"


# As a metric; what is unknown has none.
VALUE_OF = {ComponentStatus.HEALTHY: 1.0, ComponentStatus.DEGRADED: 0.5, ComponentStatus.UNHEALTHY: 0.0}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    reason : str
        One sentence for a person.
    figures : Mapping[str, object]
        What it was judged on, JSON-serialisable.
    """

    status: ComponentStatus
    reason: str
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """One component, and how to find out about it.

    Attributes
    ----------
    look : Callable
        May block; raises AutotraderError where it finds no answer.
    is_essential : bool
        Whether the platform is unhealthy when it is; the others only degrade it.
    """

    name: str
    look: Callable[[], Finding]
    is_essential: bool


def healthy(reason: str, **figures: object) -> Finding:
    return Finding(ComponentStatus.HEALTHY, reason, figures)


def degraded(reason: str, **figures: object) -> Finding:
    return Finding(ComponentStatus.DEGRADED, reason, figures)


def unhealthy(reason: str, **figures: object) -> Finding:
    return Finding(ComponentStatus.UNHEALTHY, reason, figures)


def unknown(reason: str, **figures: object) -> Finding:
    return Finding(ComponentStatus.UNKNOWN, reason, figures)
