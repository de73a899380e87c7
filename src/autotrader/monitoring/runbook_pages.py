"""Runbook pages as text: sections, links, blocks of commands, and what each block promises.

A block is a fence of `bash`. The line before it says what is promised of it, in a comment:

    <!-- expect: exit 1; contains "HALTED" -->      it runs beside the platform
    <!-- expect: exit 0; on aws -->                 it runs against a stand-in for AWS
    <!-- not-run: needs systemd -->                 it cannot be run by the tests, and why

Of a block that finds a fault, the line before that says what it does while the page's fault is there:

    <!-- amiss: exit 1; contains "DIED" -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from textwrap import dedent

from autotrader.domain.errors import BadData

ALERT_SECTIONS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
PROCEDURE_SECTIONS = ("When", "Steps", "Verify", "Escalate")

_FENCE = "```"
_EXPECT = re.compile(r"<!-- expect: (.+) -->")
_AMISS = re.compile(r"<!-- amiss: (.+) -->")
_NOT_RUN = re.compile(r"<!-- not-run: (\S.*) -->")
_CLAUSE = re.compile(r'exit ([0-4])|contains "([^"]+)"|on (\w+)')
_KNOWN = 'expected <!-- expect: exit N; contains "TEXT"; on PLACE --> or <!-- not-run: REASON -->'
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_HEADING = re.compile(r"#{1,6} (.+)")


class Place(StrEnum):
    """What a block runs beside."""

    LOCAL = "local"
    AWS = "aws"


@dataclass(frozen=True, slots=True)
class Promise:
    """What a block does, for whoever types it.

    Attributes
    ----------
    exit_code : int
        Of the block as a script that ends with its first failure.
    contains : tuple of str
        What it prints, among other things.
    place : Place
    """

    exit_code: int
    contains: tuple[str, ...] = ()
    place: Place = Place.LOCAL


@dataclass(frozen=True, slots=True)
class Block:
    """Commands.

    Attributes
    ----------
    line : int
        Of its fence, from 1.
    section : str
        Heading of the second level that it stands below; empty above the first.
    promise : Promise or None
        None: it is not run.
    amiss : Promise or None
        What it does while the page's fault is there; None where that makes no difference.
    fault : str
        What is wrong with its markers; empty where nothing is.
    """

    line: int
    text: str
    section: str
    promise: Promise | None
    amiss: Promise | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A runbook.

    Attributes
    ----------
    path : Path
        Below the folder of runbooks.
    text : str
    prose : str
        The text without blocks and markers.
    blocks : tuple of Block
    """

    path: Path
    text: str
    prose: str
    blocks: tuple[Block, ...]

    @property
    def sections(self) -> tuple[str, ...]:
        """Headings of the second level, in order."""
        return tuple(line[3:] for line in self.prose.splitlines() if line.startswith("## "))

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(_LINK.findall(self.prose))

    @property
    def anchors(self) -> frozenset[str]:
        """Of its headings, as GitHub and MkDocs make them."""
        headings = _HEADING.findall(self.prose)
        return frozenset(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings)

    @property
    def code(self) -> tuple[str, ...]:
        """Commands within sentences, and other code there."""
        return tuple(" ".join(found.split()) for found in _CODE.findall(self.prose))


def read_page(folder: Path, path: Path) -> Page:
    """The page at the path below the folder."""
    text = (folder / path).read_text()
    blocks: list[Block] = []
    prose: list[str] = []
    lines = text.splitlines()
    begun: int | None = None
    for index, line in enumerate(lines):
        said = line.strip()  # within a list, a block is indented as the list is
        if begun is None and not said.startswith(_FENCE):
            prose.append("" if said.startswith("<!--") else line)
            continue
        prose.append("")
        if begun is None:
            begun = index
        elif said.startswith(_FENCE):
            if lines[begun].strip() == f"{_FENCE}bash":
                body = dedent("\n".join(lines[begun + 1 : index]) + "\n")
                above = [line.strip() for line in lines[max(begun - 2, 0) : begun]]
                blocks.append(_block(begun + 1, body, _section(prose), above))
            begun = None
    return Page(path, text, "\n".join(prose), tuple(blocks))


def read_pages(folder: Path) -> tuple[Page, ...]:
    """All pages below the folder, in order of their paths."""
    return tuple(read_page(folder, path.relative_to(folder)) for path in sorted(folder.rglob("*.md")))


def _section(prose: list[str]) -> str:
    return next((line[3:] for line in reversed(prose) if line.startswith("## ")), "")


def _block(line: int, text: str, section: str, above: list[str]) -> Block:
    marker = above[-1] if above else ""
    amiss = _AMISS.fullmatch(above[-2]) if len(above) > 1 else None
    try:
        if _NOT_RUN.fullmatch(marker):
            promise = None
        elif found := _EXPECT.fullmatch(marker):
            promise = _promise(found[1])
        else:
            raise BadData(f"{_KNOWN} before it, was {marker[:80]!r}")
        return Block(line, text, section, promise, _promise(amiss[1]) if amiss else None)
    except BadData as error:
        return Block(line, text, section, None, fault=str(error))


def _promise(clauses: str) -> Promise:
    code: int | None = None
    texts: list[str] = []
    place = Place.LOCAL
    for clause in re.findall(r'(?:[^;"]|"[^"]*")+', clauses):
        match = _CLAUSE.fullmatch(clause.strip())
        if not match or (match[3] and match[3] not in set(Place)):
            raise BadData(f"{_KNOWN} before it, was {clause.strip()!r} in it")
        if match[1]:
            code = int(match[1])
        elif match[2]:
            texts.append(match[2])
        else:
            place = Place(match[3])
    if code is None:
        raise BadData(f"{_KNOWN} before it, was without exit")
    return Promise(code, tuple(texts), place)
