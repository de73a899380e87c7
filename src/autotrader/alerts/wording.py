"""Words of others, made fit to be told: one line, no secret, no more than a person reads."""

from __future__ import annotations

from autotrader.log import mask_text

MOST_CHARACTERS = 500
_ELLIPSIS = "…"


def one_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text without line breaks, control and invisible characters or secrets, cut where it is too long."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 20 * most])
    # Masked before it is cut: half a secret is one, too.
    words = mask_text(" ".join(shown.split()))
    return words if len(words) <= most else words[: most - 1].rstrip() + _ELLIPSIS
