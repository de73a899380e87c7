"""Commands that a runbook names, and whether there is such a thing.

Only names are looked at (module, verb, script, make target, unit of systemd, and options), and without
importing what they name: the index of verbs is read from the source of `autotrader.cli`, the options of a
verb from its parameters, those of a script from its text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PYTHON = re.compile(r"(?<![\w./-])(?:\S*/)?python3? -m (autotrader[\w.]*)(?: ([a-z][\w-]*))?")
_VERB = re.compile(r"(?:^|(?<!-u)[\s;&|(!`]|\.venv/bin/)autotrader ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
_SCRIPT = re.compile(r"(?<![\w/.])((?:scripts|deploy)/[\w/-]+\.(?:sh|py))")
_SYSTEMD = re.compile(r"\b(?:systemctl|journalctl)\b[^\n;|&`]*")
_UNIT = re.compile(r"\bautotrader-[a-z-]*[a-z](?:\.(?:service|timer))?(?![\w.$-])")
_MAKE = re.compile(r"(?:^|[\s;&|(!`])make ([a-z][a-z-]*)")
_TARGET = re.compile(r"^([a-z][\w-]*):", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s)#.*")
_OPTION = re.compile(r"(?<=\s)--[a-z][a-z-]*")
_END = re.compile(r"[|;&\n)]")  # of a command, as far as its options are asked for
_OF_EVERY_VERB = {"--help", "--json"}


def unknown_commands(root: Path, text: str) -> Iterator[str]:
    """What the text names and the checkout does not have, as one clause each.

    Parameters
    ----------
    root : Path
        The checkout.
    text : str
        Shell commands; what a comment says is no command.
    """
    text = "\n".join(_COMMENT.sub("", line) for line in text.splitlines()).replace("\\\n", " ")
    for found in _PYTHON.finditer(text):
        unknown = tuple(_unknown_module(*found.groups()))
        yield from unknown or _unknown_options(text[found.end(1) :], found[0], _target_of(*found.groups()))
    for found in _VERB.finditer(text):
        name = next((n for n in (f"{found[1]} {found[2]}", found[1]) if n in _verbs()), None)
        if name is None:
            yield (
                f"autotrader {found[1]} {found[2] or ''}".strip() + ", which autotrader --help does not list"
            )
        else:
            yield from _unknown_options(text[found.end(1) :], f"autotrader {name}", _verbs()[name])
    for found in _SCRIPT.finditer(text):
        if not (root / found[1]).is_file():
            yield f"{found[1]}, which is no file"
            continue
        known = (root / found[1]).read_text()
        for option in _options(text[found.end() :]):
            if option not in known and option != "--help":
                yield f"{found[1]} {option}, which it does not take"
    units = {unit.name for unit in (root / "deploy").rglob("autotrader-*.*")}
    for called in _SYSTEMD.findall(text):
        for unit in _UNIT.findall(called):
            if unit not in units and f"{unit}.service" not in units:
                yield f"the unit {unit}, which deploy/ does not have"
    targets = set(_TARGET.findall((root / "Makefile").read_text()))
    for target in _MAKE.findall(text):
        if target not in targets:
            yield f"make {target}, which the Makefile does not have"


def _unknown_module(module: str, word: str | None) -> Iterator[str]:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        yield f"python -m {module}, which is no module"
    elif spec.submodule_search_locations is not None:
        main = Path(spec.origin).with_name("__main__.py")
        if not main.is_file():
            yield f"python -m {module}, which is a package that cannot be run"
        elif (verbs := _constant(main, "VERBS")) is not None and word not in verbs:
            yield f"python -m {module} {word or ''}".strip() + f", which has the verbs {', '.join(verbs)}"


def _unknown_options(rest: str, name: str, target: str | None) -> Iterator[str]:
    known = _OF_EVERY_VERB | _taken(target) if target else None
    for option in _options(rest):
        if known is not None and option not in known:
            yield f"{' '.join(name.split())} {option}, which it does not take"


def _options(rest: str) -> list[str]:
    """Those of the command that the text goes on with; what is quoted is none."""
    unquoted = re.sub(r"\"[^\"]*\"|'[^']*'", " ", rest)
    return _OPTION.findall(_END.split(unquoted, maxsplit=1)[0])


@cache
def _taken(target: str) -> frozenset[str]:
    """Options of the function that `module:function` names."""
    module, _, function = target.partition(":")
    for node in ast.parse(_source(module).read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            names = [argument.arg.replace("_", "-") for argument in node.args.kwonlyargs]
            return frozenset(f"--{no}{name}" for name in names for no in ("", "no-"))
    return frozenset()


def _target_of(module: str, word: str | None) -> str | None:
    """What `python -m module word` runs, as `module:function`; None where its source does not tell."""
    main = _source(module)
    if main.name == "__init__.py":
        main = main.with_name("__main__.py")
        verbs = _constant(main, "VERBS")
        return str(verbs[word]) if verbs and word else None
    run = re.search(r"command\.run\((\w+)\)", main.read_text())
    return f"{module}:{run[1]}" if run else None


def _source(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None  # noqa: S101 - it is known by then
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin)


@cache
def _verbs() -> Mapping[str, str]:
    topics = _constant(_source("autotrader.cli"), "VERBS")
    return {verb: target for topic in (topics or {}).values() for verb, target in topic.items()}


def _constant(file: Path, name: str) -> Mapping[str, Any] | None:
    """A mapping of literals that the file gives a name to; None where it does not."""
    for node in ast.parse(file.read_text()).body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            found: Mapping[str, Any] = ast.literal_eval(node.value)
            return found
    return None
