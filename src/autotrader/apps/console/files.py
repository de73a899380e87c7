"""Files that the page leads to: health reports, runbooks, its own style and script."""

from __future__ import annotations

import re
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from autotrader.apps.console.sources import Sources
from autotrader.domain.errors import NotFound
from autotrader.monitoring.page import EVIDENTLY, INDEX

ASSETS = {"console.css": "text/css", "console.js": "text/javascript"}

_FOLDER = Path(__file__).parent / "assets"
_REPORT = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_RUNBOOK = re.compile(r"(?:[A-Za-z0-9_-]+/){0,3}[A-Za-z0-9_-]+\.md")
# Its pages are written in the repository; even so, no markup of theirs is passed on.
_COMMENT = re.compile(r"^ *<!--.*-->\n", re.MULTILINE)  # for the tests that run its blocks
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def asset(name: str) -> tuple[bytes, str]:
    """Content and media type; raises NotFound."""
    if name not in ASSETS:
        raise NotFound(f"expected one of {', '.join(ASSETS)}, was {name[:100]!r}")
    return (_FOLDER / name).read_bytes(), ASSETS[name]


def health_report(sources: Sources, folder: str, file: str) -> bytes:
    """A page of a health report; raises NotFound."""
    if file in (INDEX, EVIDENTLY) and _REPORT.fullmatch(folder) and folder.strip("."):
        path = sources.reports / folder / file
        if path.is_file():
            return path.read_bytes()
    raise NotFound(
        f"expected a health report that is kept, was {folder[:100]}/{file[:100]}: "
        "trigger feature_health_check"
    )


def runbook(sources: Sources, path: str) -> Markup:
    """The page as HTML; raises NotFound."""
    folder = Path(sources.settings.monitoring.runbook_url).resolve()
    file = folder / path
    if not _RUNBOOK.fullmatch(path) or not file.resolve().is_relative_to(folder) or not file.is_file():
        raise NotFound(
            f"expected a runbook in {folder.name}/, was {path[:100]!r}: set "
            "AUTOTRADER_MONITORING__RUNBOOK_URL to where they are"
        )
    return Markup(_MARKDOWN.render(_COMMENT.sub("", file.read_text())))  # noqa: S704 - made of text whose markup is escaped
