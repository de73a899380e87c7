"""Markdown whose words stay words: what looks like markup in a help text is none."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

_MARKUP = re.compile(r"([\\*_\[\]<>|])")


def paragraph(text: str) -> Iterator[str]:
    """Lines of a paragraph; the text is Markdown already."""
    yield from textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False)
    yield ""


def words(text: str) -> str:
    """The text in one line, for a cell or a paragraph; what stands in backquotes is left as it is."""
    parts = " ".join(text.split()).split("`")
    plain = [_MARKUP.sub(r"\\\1", part) for part in parts[::2]]
    code = [part.replace("|", r"\|") for part in parts[1::2]]
    if len(parts) % 2 == 0:  # one backquote is without its other
        return _MARKUP.sub(r"\\\1", " ".join(text.split())).replace("`", r"\`")
    return "".join(p + (f"`{code[i]}`" if i < len(code) else "") for i, p in enumerate(plain))


def code(text: str) -> str:
    """As it is typed, in a cell; a dash where there is nothing."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else "–"


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a table; cells are Markdown already."""
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
