"""The model that is live, and the reference that was stored with it."""

from __future__ import annotations

from dataclasses import dataclass

from autotrader.config.settings import Settings
from autotrader.domain.errors import NotFound
from autotrader.features.reference.files import REFERENCE_FILE, Reference, load_reference
from autotrader.ports.registry import Alias, ModelRegistry, ModelVersion


@dataclass(frozen=True, eq=False)
class Champion:
    """The live version; `reference` is None where it was registered without one."""

    version: ModelVersion
    reference: Reference | None


def find_champion(settings: Settings, registry: ModelRegistry) -> Champion | None:
    """The live version with its reference, whose digest is verified; None where nothing is live.

    Raises
    ------
    BadData
        If the reference is not the one that was registered.
    Unreachable
        If the registry does not answer.
    """
    try:
        version = registry.get(settings.strategy.strategy_id, Alias.CHAMPION.value)
    except NotFound:
        return None
    folder = settings.home.resolve() / "monitoring" / "references" / version.name / version.semver
    try:
        path = registry.fetch_artifact(version, REFERENCE_FILE, folder)
    except NotFound:
        return Champion(version, None)
    return Champion(version, load_reference(path))


def nothing_live(settings: Settings) -> str:
    """Why a check cannot say anything without a champion."""
    return f"no version of {settings.strategy.strategy_id} is live yet"


def without_reference(champion: Champion) -> str:
    """Why a check cannot say anything without a reference."""
    return f"{champion.version.semver} was registered without a reference: train and deploy again to have one"
