"""From argv to a typed call to an exit code, with the standard library alone.

A verb is a module with one keyword-only function. Its annotations make the parser: `str`, `int`,
`float`, `bool`, `datetime`, `date`, `Path`, enums, `tuple[T, ...]`, and `T | None`. A parameter
whose annotation is anything else (a port, `Settings`) is injected by `autotrader.bootstrap`. The
first line of the docstring is the summary, and numpydoc's Parameters section describes the options.

Results go to stdout (`--json` for programs), everything else to stderr. Exit codes are those of
`autotrader.domain.errors.ExitCode`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import enum
import functools
import importlib
import inspect
import json
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from autotrader.domain.bars import parse_utc
from autotrader.domain.errors import AutotraderError, ConfigurationError, ExitCode

EXIT_CODES = (
    "exit codes: 0 done, 1 failed or unhealthy, 2 usage, 3 unreachable (retry), 4 refused by a safety rule"
)

_SCALARS: dict[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    Decimal: Decimal,
    Path: Path,
    datetime: parse_utc,
    date: date.fromisoformat,
}


@dataclasses.dataclass(frozen=True)
class Option:
    """One that a verb takes on the command line.

    Attributes
    ----------
    value : str
        What follows the flag, such as `DATE` or `{dev,production}`; empty where nothing does.
    default : object
        None where it is required, too.
    """

    flag: str
    value: str
    required: bool
    default: object
    help: str


@dataclasses.dataclass(frozen=True)
class Result:
    """What a verb returns when plain data is not enough.

    Attributes
    ----------
    data : object
        Printed by `--json`; dataclasses, enums, dates and mappings are understood.
    text : str
        Printed otherwise.
    exit_code : ExitCode
    """

    data: object
    text: str
    exit_code: ExitCode = ExitCode.DONE


def run(verb: Callable[..., object], argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Parse argv for the verb, call it, print its result; returns the exit code.

    Parameters
    ----------
    verb : Callable
        A keyword-only function.
    argv : Sequence[str] or None
        None is the process's own.
    prog : str or None
        What the user typed, for the help; None is `python -m <module>`.
    """
    hints = _hints(verb)
    parser = argparse.ArgumentParser(
        prog=prog or _program_name(verb),
        description=prose(verb),
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", dest="_json", help="print one JSON object")
    helps = _parameter_help(inspect.getdoc(verb) or "")
    for name, parameter in inspect.signature(verb).parameters.items():
        if _is_option(hints[name]):
            _add_option(parser, name, parameter, hints[name], helps.get(name))
    arguments = vars(parser.parse_args(argv))
    as_json = arguments.pop("_json")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        importlib.import_module("autotrader.bootstrap").configure_process()
        with bound(verb, values) as call:
            outcome = call()
    except AutotraderError as error:
        return _report(error, as_json)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    result = outcome if isinstance(outcome, Result) else Result(outcome, _render(outcome))
    _say(json.dumps(to_plain(result.data)) if as_json else result.text)
    return int(result.exit_code)


def _say(text: str) -> None:
    """Print it; whoever reads may have read enough, as `head` has."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def bound(verb: Callable[..., object], values: Mapping[str, Any]) -> Iterator[Callable[[], object]]:
    """The verb with its values and its ports filled in; ports are closed when the block ends.

    Raises
    ------
    ConfigurationError
        If the values are not the verb's, or a setting is wrong.
    """
    bootstrap = importlib.import_module("autotrader.bootstrap")
    hints = _hints(verb)
    wanted = {name: hint for name, hint in hints.items() if name != "return" and bootstrap.provides(hint)}
    options = {name: p for name, p in inspect.signature(verb).parameters.items() if name not in wanted}
    required = {name for name, p in options.items() if p.default is p.empty}
    if not required <= set(values) <= set(options):
        raise ConfigurationError(
            f"expected {verb.__name__} to be given {sorted(required)}"
            f" (and perhaps {sorted(set(options) - required)}), was {sorted(values)}"
        )
    with bootstrap.open_ports(wanted) as ports:
        yield functools.partial(verb, **values, **ports)


def run_noun(package: str, verbs: Mapping[str, str], argv: Sequence[str] | None = None) -> int:
    """Run one of a package's verbs: `python -m <package> <verb> ...`.

    Parameters
    ----------
    package : str
        Dotted name, for messages.
    verbs : Mapping[str, str]
        Verb to `module:function`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help"}:
        print(f"usage: python -m {package} VERB [--help]\n\nverbs:")
        for name, target in verbs.items():
            print(f"  {name:<24}{summary(target)}")
        return ExitCode.DONE if words else ExitCode.USAGE
    if words[0] not in verbs:
        print(f"expected one of {', '.join(verbs)}, was {words[0]!r}", file=sys.stderr)
        return ExitCode.USAGE
    return run(load(verbs[words[0]]), words[1:])


def load(target: str) -> Callable[..., object]:
    """The function that `module:function` names."""
    module, _, function = target.partition(":")
    loaded: Callable[..., object] = getattr(importlib.import_module(module), function)
    return loaded


def summary(target: str) -> str:
    """First line of the docstring of the function that `module:function` names."""
    return (inspect.getdoc(load(target)) or "").partition("\n")[0]


def options(verb: Callable[..., object]) -> Iterator[Option]:
    """What the verb takes on the command line, in its own order, beside `--json` and `--help`."""
    hints = _hints(verb)
    helps = _parameter_help(inspect.getdoc(verb) or "")
    parser = argparse.ArgumentParser(add_help=False)
    for name, parameter in inspect.signature(verb).parameters.items():
        if _is_option(hints[name]):
            action = _add_option(parser, name, parameter, hints[name], helps.get(name))
            flag = " / ".join(action.option_strings)
            value = str(action.metavar or "") + ("…" if action.nargs == "+" else "")
            text = (action.help or "").replace("%%", "%")
            yield Option(flag, value, action.required, action.default, text)


def to_plain(value: object) -> Any:
    """The value in JSON's own types; NaN and infinities become null."""
    match value:
        case enum.Enum():
            return value.value
        case bool() | int() | str() | None:
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else None
        case datetime() | date():
            return value.isoformat()
        case Decimal() | Path():
            return str(value)
        case Mapping():
            return {str(k): to_plain(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [to_plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # a number or an array of numpy
        return to_plain(value.tolist())
    if hasattr(value, "model_dump"):  # a pydantic model: secrets come out masked
        return value.model_dump(mode="json")
    return str(value)


def _add_option(
    parser: argparse.ArgumentParser,
    name: str,
    parameter: inspect.Parameter,
    hint: Any,
    help_text: str | None,
) -> argparse.Action:
    flag = "--" + name.replace("_", "-")
    required = parameter.default is inspect.Parameter.empty
    default = None if required else parameter.default
    given: dict[str, Any] = {"dest": name, "help": help_text, "required": required, "default": default}
    inner, many = _unwrap(hint)
    if inner is bool:
        return parser.add_argument(flag, action=argparse.BooleanOptionalAction, **given)
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        members = ",".join(str(member.value) for member in inner)
        given |= {"type": inner, "choices": list(inner), "metavar": f"{{{members}}}"}
    else:
        given |= {"type": _reader(_SCALARS[inner]), "metavar": name.upper()}
    if many:
        given["nargs"] = "+"
    return parser.add_argument(flag, **given)


def _is_option(hint: Any) -> bool:
    """Whether argv can carry it; everything else is a port."""
    inner, _ = _unwrap(hint)
    is_enum = isinstance(inner, type) and issubclass(inner, enum.Enum)
    return is_enum or inner is bool or inner in _SCALARS


def _hints(verb: Callable[..., object]) -> dict[str, Any]:
    return typing.get_type_hints(verb)


def _unwrap(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(inner) == 1:
            return _unwrap(inner[0])
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _reader(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return convert(text)
        except (ValueError, ArithmeticError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _parameter_help(doc: str) -> dict[str, str]:
    section = re.search(r"Parameters\n-+\n(.*?)(?:\n\n[A-Z]\w+\n-+\n|\Z)", doc, re.DOTALL)
    if not section:
        return {}
    helps: dict[str, str] = {}
    names: list[str] = []
    for line in section.group(1).splitlines():
        if line and not line.startswith(" "):
            names = [n.strip() for n in line.partition(":")[0].split(",")]
            helps.update(dict.fromkeys(names, ""))
        else:
            helps.update({n: f"{helps[n]} {line.strip()}".strip() for n in names})
    return {n: text.replace("%", "%%") for n, text in helps.items()}


def prose(verb: Callable[..., object]) -> str:
    """The docstring without its sections: these describe the options one by one."""
    return re.split(r"\n\n[A-Z]\w+\n-{3,}\n", inspect.getdoc(verb) or "", maxsplit=1)[0]


def _program_name(verb: Callable[..., object]) -> str:
    module = verb.__module__
    if module == "__main__":
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        module = spec.name if spec else Path(sys.argv[0]).name
    return f"python -m {module}"


def _render(value: object) -> str:
    plain = to_plain(value)
    if plain is None:
        return "done"
    if isinstance(plain, dict):
        width = max((len(k) for k in plain), default=0)
        return "\n".join(
            f"{k:<{width}}  {json.dumps(v) if isinstance(v, (dict, list)) else v}" for k, v in plain.items()
        )
    if isinstance(plain, list):
        return "\n".join(_render(v) if isinstance(v, dict) else str(v) for v in plain)
    return str(plain)


def _report(error: AutotraderError, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return int(error.exit_code)
