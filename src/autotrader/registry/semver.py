"""Version numbers that people and runbooks use: `v1.2.3`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_FORM = re.compile(r"v(\d{1,6})\.(\d{1,6})\.(\d{1,6})")


class Semver(NamedTuple):
    """Ordered by age; prints as `v1.2.3`."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Semver | None:
        """Read `v1.2.3`; None if the text is of another form."""
        match = _FORM.fullmatch(text)
        return cls(*map(int, match.groups())) if match else None


def next_semver(taken: Iterable[Semver]) -> Semver:
    """The number of a new candidate: the next minor one, `v1.0.0` if there is none yet."""
    newest = max(taken, default=None)
    return Semver(1, 0, 0) if newest is None else Semver(newest.major, newest.minor + 1, 0)
