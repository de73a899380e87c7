"""A person types what is about to be done, where data or traffic is at stake."""

from __future__ import annotations

import sys

from autotrader.domain.errors import Refused


def require_confirmation(words: str, given: str | None, *, what: str) -> None:
    """Go on only if the words were given, or are typed now.

    Parameters
    ----------
    words : str
        That have to be typed; they name what is at stake.
    given : str or None
        By `--confirm`, for automation.
    what : str
        Told before the question.

    Raises
    ------
    Refused
        If they were not, or there is nobody to ask.
    """
    if given is None and sys.stdin.isatty():
        sys.stderr.write(f"{what}\nType `{words}` to go on: ")
        sys.stderr.flush()
        given = sys.stdin.readline().strip()
    if given != words:
        raise Refused(f"{what}: expected --confirm {words!r}, was {given!r}: nothing was changed")
