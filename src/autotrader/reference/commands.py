"""The page about commands, from the registry of verbs and their signatures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from autotrader import command
from autotrader.cli import VERBS
from autotrader.reference.markdown import code, paragraph, table, words


def commands() -> Iterator[str]:
    """Lines of the page."""
    yield "# Commands"
    yield ""
    yield from paragraph(
        "Each is `.venv/bin/autotrader <name>`; all have `--help` and `--json`. The same functions "
        "are modules, which runbooks call: `python -m autotrader.registry.get` is `autotrader "
        "get-model`."
    )
    yield "| exit code | meaning |"
    yield "|---|---|"
    for part in command.EXIT_CODES.removeprefix("exit codes: ").split(", "):
        number, _, meaning = part.partition(" ")
        yield f"| {number} | {meaning} |"
    for topic, verbs in VERBS.items():
        yield ""
        yield f"## {topic.capitalize()}"
        for name, target in verbs.items():
            yield ""
            yield from _verb(name, target)


def _verb(name: str, target: str) -> Iterator[str]:
    verb = command.load(target)
    yield f"### {name}"
    yield ""
    module = target.partition(":")[0]
    for part in re.split(r"\n\s*\n", command.prose(verb)):
        yield from paragraph(words(part))
    yield from paragraph(f"Module: `{module}`")
    options = list(command.options(verb))
    if options:
        yield from table(
            ["option", "value", "default", "meaning"],
            (
                (code(option.flag), words(option.value), _default(option), words(option.help) or "–")
                for option in options
            ),
        )


def _default(option: command.Option) -> str:
    if option.required:
        return "required"
    plain = command.to_plain(option.default)
    return code("" if plain is None else str(plain).lower() if isinstance(plain, bool) else str(plain))
