"""Write the generated pages of `docs/`, or check that they are up to date."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from autotrader import command
from autotrader.domain.errors import ExitCode
from autotrader.reference.alerts import alerts
from autotrader.reference.commands import commands
from autotrader.reference.metrics import metrics
from autotrader.reference.settings import settings

DOCS = Path("docs")
_PAGES: Mapping[str, Callable[[], Iterator[str]]] = {
    "alerts.md": alerts,
    "commands.md": commands,
    "metrics.md": metrics,
    "settings.md": settings,
}
_NOTE = "<!-- Generated from the code: `python -m autotrader.reference` writes it. Do not edit. -->"


def pages(*, check: bool = False, folder: Path = DOCS) -> command.Result:
    """Write the pages about commands, settings, metrics and alerts, or check that they are up to date.

    Parameters
    ----------
    check : bool
        Change nothing; fail if a page differs.
    folder : Path
        Of the documentation.
    """
    texts = {folder / name: _text(page()) for name, page in _PAGES.items()}
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    if check:
        advice = f"stale: {', '.join(map(str, stale))}: run python -m autotrader.reference"
        return command.Result(
            {"stale": stale},
            advice if stale else f"the generated pages of {folder} are up to date",
            ExitCode.FAILED if stale else ExitCode.DONE,
        )
    for path in stale:
        path.write_text(texts[path])
    return command.Result({"written": stale}, f"wrote {len(stale)} of {len(texts)} pages below {folder}")


def _text(lines: Iterator[str]) -> str:
    text = "\n".join([_NOTE, "", *lines]).rstrip() + "\n"
    return re.sub(r"\n{3,}", "\n\n", text)
