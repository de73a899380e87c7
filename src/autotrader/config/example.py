"""`.env.production.example`, generated from the settings so that it cannot go stale."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from autotrader import command
from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.errors import ExitCode

EXAMPLE = Path(".env.production.example")

_HEADER = """\
# Settings of autotrader, generated from src/autotrader/config/settings.py: do not edit.
# Copy to .env and set what production needs. A commented line shows the default.
# Secrets are empty here: give them through the environment or a secret store, never in git.
"""

# What an operator must choose; everything else has a usable default.
_PRODUCTION = {
    "ENVIRONMENT": "production",
    "LAKE__URI": "s3://your-prefix-data/lake",
    "LAKE__ARCHIVE_URI": "s3://your-prefix-data/archive",
    "MLFLOW__TRACKING_URI": "https://mlflow.internal.example",
    "AIRFLOW__URL": "https://airflow.internal.example",
    "DATABASE__URL": "",
    "DATABASE__LEDGER_URL": "",
}


def example(*, check: bool = False) -> command.Result:
    """Write .env.production.example, or check that it is up to date.

    Parameters
    ----------
    check : bool
        Change nothing; fail if the file differs.
    """
    text = render()
    if not check:
        EXAMPLE.write_text(text)
        return command.Result({"path": EXAMPLE}, f"wrote {EXAMPLE}")
    fresh = EXAMPLE.exists() and EXAMPLE.read_text() == text
    advice = f"{EXAMPLE} is up to date" if fresh else f"{EXAMPLE} is stale: run python -m {__spec__.name}"
    return command.Result({"fresh": fresh}, advice, ExitCode.DONE if fresh else ExitCode.FAILED)


def render() -> str:
    """The file's text: every setting, its meaning and default."""
    return _HEADER + "\n".join(_lines(Settings, "")) + "\n"


def _lines(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        full = path + name.upper()
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield ""
            yield from _lines(section, f"{full}__")
            continue
        if field.description:
            yield f"# {field.description}"
        if full in _PRODUCTION:
            yield f"{PREFIX}{full}={_PRODUCTION[full]}"
        elif is_secret(field):
            yield f"{PREFIX}{full}="
        else:
            yield f"#{PREFIX}{full}={shown(field.get_default(call_default_factory=True))}"


def is_secret(field: FieldInfo) -> bool:
    """Whether nobody may see its value."""
    hint = field.annotation
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return SecretStr in parts


def shown(value: Any) -> str:
    """A value as a file of settings has it."""
    plain = command.to_plain(value)
    if plain is None:
        return ""
    if isinstance(plain, list):
        return ",".join(map(str, plain))
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


if __name__ == "__main__":
    raise SystemExit(command.run(example))
