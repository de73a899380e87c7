"""YAML as our generated files have it: blocks, and scalars in JSON's notation, which YAML understands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
_NOT_PLAIN = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})

Value = Mapping[str, "Value"] | Sequence["Value"] | str | int | float | bool


def render(value: Mapping[str, Value]) -> str:
    """The mapping as a YAML document."""
    return "\n".join(_lines(value, "")) + "\n"


def _lines(value: Value, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if _is_block(inner):
                yield f"{indent}{_scalar(name)}:"
                yield from _lines(inner, indent + "  ")
            else:
                yield f"{indent}{_scalar(name)}: {_scalar(inner)}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            if _is_block(inner):
                first, *rest = _lines(inner, indent + "  ")
                yield f"{indent}- {first.removeprefix(indent + '  ')}"
                yield from rest
            else:
                yield f"{indent}- {_scalar(inner)}"


def _is_block(value: Value) -> bool:
    return isinstance(value, (Mapping, Sequence)) and not isinstance(value, str) and len(value) > 0


def _scalar(value: Value) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_PLAIN:
        return value
    return json.dumps(value, ensure_ascii=False)
