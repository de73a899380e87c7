"""Nothing secret leaves: by value, wherever it stands, and by name and form."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from pydantic import BaseModel, SecretStr

from autotrader.config.settings import PREFIX, Settings
from autotrader.log import mask_text

MASK = "***"
SHORTEST = 4  # what is shorter stands in innocent words, too
_NAMES = re.compile(
    r"secret|password|token|(?:fernet|access|api|private)_?key|credential|cookie|_conn$|broker_url$",
    re.IGNORECASE,
)
_OURS = (PREFIX, "AIRFLOW__", "AWS_", "MLFLOW_", "GF_", "POSTGRES_", "PG", "REDIS_")
_FILES = ("serving.token", "airflow/passwords.json", "monitoring/secrets/*", "airflow/airflow.cfg")
_CONFIGURED = re.compile(
    r"^(?:secret_key|fernet_key|jwt_secret|sql_alchemy_conn|broker_url|result_backend|\w*password)\s*=\s*(\S+)\s*$",
    re.MULTILINE,
)


class Mask:
    """Replaces secrets that this home knows of, and what looks like one.

    Parameters
    ----------
    settings : Settings
        Their secrets, those of files below its home, and of the environment's variables with telling names.
    """

    def __init__(self, settings: Settings) -> None:
        known = {value for secret in _secrets(settings) for value in _forms(secret) if len(value) >= SHORTEST}
        # The longest first: one may hold another.
        ordered = sorted(known, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """The text without them."""
        return mask_text(self._known.sub(MASK, text) if self._known else text)


def _secrets(settings: Settings) -> Iterator[str]:
    yield from _of_model(settings)
    home = settings.home.resolve()
    for pattern in _FILES:
        for path in home.glob(pattern):
            if path.is_file():
                yield from _of_file(path)
    for name, value in os.environ.items():
        if name.startswith(_OURS) and _NAMES.search(name):
            yield value


def _of_model(model: BaseModel) -> Iterator[str]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, BaseModel):
            yield from _of_model(value)


def _of_file(path: Path) -> Iterator[str]:
    text = path.read_text(errors="replace").strip()
    if path.suffix == ".json":
        yield from _of_json(text)
    elif path.suffix == ".cfg":
        yield from _CONFIGURED.findall(text)
    else:
        yield text


def _of_json(text: str) -> Iterator[str]:
    """Values of the object; of a file that is damaged, all its words: a report must not tell them."""
    try:
        yield from map(str, json.loads(text).values())
    except (ValueError, AttributeError):
        yield from re.findall(r'[^\s"{}\[\]:,]+', text)


def _forms(secret: str) -> Iterator[str]:
    """As it stands, in URLs and in JSON; of a URL its password, or all of it where its path is the secret."""
    value = secret
    if "://" in secret and (parts := _parts(secret)):
        is_secret_itself = parts.scheme in ("http", "https") and len(parts.path) > 1
        value = unquote(parts.password) if parts.password else secret if is_secret_itself else ""
    yield from {value, quote(value, safe=""), json.dumps(value)[1:-1]}


def _parts(url: str) -> SplitResult | None:
    """None of what only looks like a URL: a bracket in a password makes it none."""
    try:
        return urlsplit(url)
    except ValueError:
        return None
