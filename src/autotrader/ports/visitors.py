"""Who asks for a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Admission(StrEnum):
    ADMITTED = "admitted"
    UNKNOWN = "unknown"  # must say who it is first
    FORBIDDEN = "forbidden"  # is known, and may not


@dataclass(frozen=True, slots=True)
class Visit:
    """What became of one who asked.

    Attributes
    ----------
    sign_in : str or None
        URL where somebody who is not known signs in.
    """

    admission: Admission
    name: str = ""
    sign_in: str | None = None


class Door(Protocol):
    """Lets in whom the host of the page knows."""

    async def __call__(self, *, authorization: str | None, cookies: Mapping[str, str]) -> Visit:
        """Judge a request by its header and cookies; a token that is given must be a good one."""
        ...
