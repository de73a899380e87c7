"""Lay out what the documentation's site is built from: `python -m autotrader.reference.site`.

Pages keep their places in the repository, so that every link between them holds in both. A link to a file
that is no page (a script, a licence) becomes its words. A link that leads nowhere ends it: the builder
checks links to pages alone.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from autotrader import command
from autotrader.domain.errors import ExitCode

_PAGES = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "runbooks/**/*.md"),
    *("benchmarks/RESULTS.md", "terraform/README.md"),
)
_LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_TEXT_AND_LINK = re.compile(r"(?<![!\\])\[([^\]\n]*)\]\(([^)\s]+)\)")
_SHOWN = (".md", ".png", ".svg")
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")


def site(*, folder: Path, root: Path = Path()) -> command.Result:
    """Copy the pages, and those that they link to.

    Parameters
    ----------
    folder : Path
        Is emptied first.
    root : Path
        Of the repository.
    """
    pages = sorted({page for pattern in _PAGES for page in root.glob(pattern)})
    broken = [f"{page.relative_to(root)}: {link}" for page, link, file in _linked(pages) if not file.exists()]
    if broken:
        text = "links that lead nowhere:\n" + "\n".join(f"  {line}" for line in broken)
        return command.Result({"broken": broken}, text, ExitCode.FAILED)
    shutil.rmtree(folder, ignore_errors=True)
    kept = {page.resolve() for page in pages}
    kept |= {file for _, _, file in _linked(pages) if file.suffix in _SHOWN}
    for file in sorted(kept):
        copy = folder / file.relative_to(root.resolve())
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            copy.write_text(_without_files(file, file.read_text()))
        else:
            shutil.copyfile(file, copy)
    return command.Result({"pages": len(kept)}, f"{len(kept)} pages in {folder}")


def _without_files(page: Path, text: str) -> str:
    """Links to what is not on the site as words; a page outside of it may link on to others."""

    def shown(link: re.Match[str]) -> str:
        path = unquote(link[2].partition("#")[0])
        elsewhere = not path or re.match(r"[a-z]+:", path)
        return link[0] if elsewhere or (page.parent / path).suffix in _SHOWN else link[1]

    return _TEXT_AND_LINK.sub(shown, text)


def _linked(pages: list[Path]) -> Iterator[tuple[Path, str, Path]]:
    """Page, link and the file that it means; links to elsewhere and within the page left out."""
    for page in pages:
        prose = _CODE.sub("", _FENCED.sub("", page.read_text()))
        for link in _LINK.findall(prose):
            path = unquote(link.partition("#")[0])
            if path and not re.match(r"[a-z]+:", path):
                yield page, link, (page.parent / path).resolve()


if __name__ == "__main__":
    raise SystemExit(command.run(site))
