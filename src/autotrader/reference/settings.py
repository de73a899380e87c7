"""The page about settings, from the one object that holds them."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from autotrader.config.example import is_secret, shown
from autotrader.config.settings import PREFIX, Settings
from autotrader.reference.markdown import code, paragraph, table, words


def settings() -> Iterator[str]:
    """Lines of the page."""
    yield "# Settings"
    yield ""
    yield from paragraph(
        "Every process reads the same settings. Order: the environment, `.env`, `<home>/runtime.env`, "
        f"the default. A name is `{PREFIX}`, the section, two underscores, the field. A wrong value "
        "ends the process at once; the message has the name and what was expected. Give secrets "
        "through the environment or a secret store. `.env.production.example` is the same list as a "
        "file to fill in. `docs/production.md` says what must be set."
    )
    yield "## General"
    yield ""
    yield from _section(Settings, "")
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if _is_section(section):
            yield ""
            yield f"## {name.capitalize()}"
            yield ""
            about = vars(section).get("__doc__")
            if about:
                yield words(about.partition("\n\n")[0])
                yield ""
            yield from _section(section, f"{name.upper()}__")


def _section(model: type[BaseModel], path: str) -> Iterator[str]:
    yield from table(["setting", "default", "meaning"], _rows(model, path))


def _rows(model: type[BaseModel], path: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            if path:
                yield from _rows(field.annotation, f"{path}{name.upper()}__")
            continue
        default = "secret" if is_secret(field) else code(shown(field.get_default(call_default_factory=True)))
        meaning = words(field.description or "")
        choices = _choices(field.annotation)
        if choices:
            meaning = f"{meaning}{'; ' if meaning else ''}one of {choices}"
        yield code(f"{PREFIX}{path}{name.upper()}"), default, meaning or "–"


def _is_section(kind: Any) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _choices(kind: Any) -> str:
    """Of an enumeration; nothing else has few enough."""
    if isinstance(kind, types.UnionType):
        kind = next((part for part in typing.get_args(kind) if part is not type(None)), kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(code(str(member.value)) for member in kind)
    return ""
