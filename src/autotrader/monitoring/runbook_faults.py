"""What is wrong with the runbooks: one line each, with the page and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

from autotrader.domain.alert_rules import RULES, RUNBOOKS, AlertRule
from autotrader.domain.runbooks import ALERTS_BY_DAG, APPLICATION_ALERTS
from autotrader.domain.service_levels import promql_duration
from autotrader.monitoring.runbook_commands import unknown_commands
from autotrader.monitoring.runbook_pages import ALERT_SECTIONS, PROCEDURE_SECTIONS, Page

INDEX = "README.md"
PROCEDURES = "procedures"
NOT_RUN_SHARE = 0.05  # of all blocks

_BEGIN, _END = "<!-- index -->", "<!-- end of index -->"


def alert_names() -> tuple[str, ...]:
    """Every alert that has a page: of rules and of the application."""
    return tuple(sorted({rule.name for rule in RULES} | set(APPLICATION_ALERTS)))


def facts(name: str) -> str:
    """What is known of an alert without a person's words; a page has it below its title."""
    rules = [rule for rule in RULES if rule.name == name]
    raised = [_raised(rule) for rule in rules]
    if name in APPLICATION_ALERTS:
        raised.append(f"- Raised by the application: {APPLICATION_ALERTS[name]}.")
    return "\n\n".join(raised)


def index() -> str:
    """The table of alerts on the first page."""
    rows = ["| alert | severity | raised when |", "|---|---|---|"]
    for name in alert_names():
        rules = [rule for rule in RULES if rule.name == name]
        severity = ", ".join(dict.fromkeys(rule.severity.value for rule in rules)) or "as raised"
        when = rules[0].summary if rules else APPLICATION_ALERTS[name]
        when = re.sub(r"\{\{ with .*?\{\{ else \}\}(.*?)\{\{ end \}\}", r"\1", when)
        when = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", when).replace("{value}", "N")
        rows.append(f"| [{name}]({RUNBOOKS}/{name}.md) | {severity} | {when} |")
    return f"{_BEGIN}\n" + "\n".join(rows) + f"\n{_END}"


def with_index(text: str) -> str:
    """The first page with the table as it should be."""
    return re.sub(f"{_BEGIN}.*?{_END}", lambda _: index(), text, flags=re.DOTALL)


def with_facts(name: str, text: str) -> str:
    """An alert's page with its facts as they should be."""
    return re.sub(
        r"\A# .*?(?=^## )", lambda _: f"# {name}\n\n{facts(name)}\n\n", text, flags=re.DOTALL | re.MULTILINE
    )


def faults(root: Path, pages: Sequence[Page]) -> Iterator[str]:
    """All that is wrong.

    Parameters
    ----------
    root : Path
        The checkout.
    pages : sequence of Page
        All of its runbooks.
    """
    found = {page.path.as_posix(): page for page in pages}
    yield from _missing(found)
    for name, page in found.items():
        yield from (f"{name}: {fault}" for fault in _of_page(root, page, found))
    blocks = [block for page in pages for block in page.blocks]
    not_run = sum(block.promise is None for block in blocks)
    if not_run > NOT_RUN_SHARE * len(blocks):
        yield f"expected at most {NOT_RUN_SHARE:.0%} of {len(blocks)} blocks not to be run, was {not_run}"


def _raised(rule: AlertRule) -> str:
    held = f"after {promql_duration(rule.hold)} of" if rule.hold else "at once with"
    raised = f"- **{rule.severity}**, {held}\n\n  ```promql\n  {rule.expression}\n  ```"
    if not rule.keep_firing:
        return raised
    return f"{raised}\n\n  Over once that has not held for {promql_duration(rule.keep_firing)}."


def _missing(found: Mapping[str, Page]) -> Iterator[str]:
    wanted = {f"{RUNBOOKS}/{name}.md" for name in alert_names()}
    wanted |= {f"{RUNBOOKS}/{name}.md" for name in chain.from_iterable(ALERTS_BY_DAG.values())}
    for name in sorted({INDEX, *wanted} - set(found)):
        yield f"{name}: missing: write it"
    for name in sorted(found):
        if name.startswith(f"{RUNBOOKS}/") and name not in wanted:
            yield f"{name}: stale: no alert has this name; delete the page"


def _of_page(root: Path, page: Page, found: Mapping[str, Page]) -> Iterator[str]:
    folder = page.path.parent.as_posix()
    wanted = {RUNBOOKS: ALERT_SECTIONS, PROCEDURES: PROCEDURE_SECTIONS}.get(folder)
    if wanted is not None and page.sections != wanted:
        yield f"expected the sections {', '.join(wanted)}, was {', '.join(page.sections) or 'none'}"
    fresh = with_index(page.text) if page.path.as_posix() == INDEX else page.text
    if folder == RUNBOOKS and page.path.stem in alert_names():
        fresh = with_facts(page.path.stem, page.text)
        if "Escalate" not in page.prose:
            yield "expected a word on when to escalate, was none"
    if fresh != page.text:
        yield "stale: run python -m autotrader.monitoring.runbooks"
    yield from _dead_links(page, found)
    for block in page.blocks:
        where = f"line {block.line}: "
        if block.fault:
            yield where + block.fault
        promises = (block.promise, block.amiss)
        for text in chain.from_iterable(promise.contains for promise in promises if promise):
            if text not in page.prose:
                yield f'{where}expected the page to tell its reader of "{text}", was in the marker alone'
        yield from (f"{where}names {unknown}" for unknown in unknown_commands(root, block.text))
    for code in page.code:
        yield from (f"names {unknown}" for unknown in unknown_commands(root, code))


def _dead_links(page: Page, found: Mapping[str, Page]) -> Iterator[str]:
    for link in page.links:
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        parts: list[str] = []
        for part in (page.path.parent / path if path else page.path).parts:
            if part == ".." and parts:
                parts.pop()
            else:
                parts.append(part)
        target = found.get(PurePosixPath(*parts).as_posix())
        if target is None:
            yield f"expected {link} to lead to a runbook, was nothing there"
        elif anchor and anchor not in target.anchors:
            yield f"expected {link} to lead to a heading, was none of {', '.join(sorted(target.anchors))}"
