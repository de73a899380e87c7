"""The page of all paths, made here from the OpenAPI document: nothing is fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

_TEMPLATES = Environment(
    loader=PackageLoader("autotrader.apps.api"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True, slots=True)
class Operation:
    """A path with a method.

    Attributes
    ----------
    parameters : tuple
        Name, where it is given, what it must be, and what it means.
    answers : tuple
        Status and what it is.
    """

    method: str
    path: str
    tag: str
    text: str
    parameters: tuple[tuple[str, str, str, str], ...]
    answers: tuple[tuple[str, str], ...]


def page_of(document: Mapping[str, Any]) -> str:
    """The HTML page of an OpenAPI document."""
    operations = sorted(_operations(document), key=lambda o: (o.tag, o.path, o.method))
    schemas = {
        name: [
            (field, _kind(shape), shape.get("description", ""))
            for field, shape in schema.get("properties", {}).items()
        ]
        for name, schema in sorted(document["components"]["schemas"].items())
    }
    return _TEMPLATES.get_template("documentation.html").render(
        info=document["info"], operations=operations, schemas=schemas
    )


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parameters = [
                (p["name"], p["in"], _kind(p["schema"]), p.get("description", ""))
                for p in operation.get("parameters", ())
            ]
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            parameters += [("body", "body", _kind(body["schema"]), "JSON") for body in bodies]
            answers = [
                (status, _of_answer(answer)) for status, answer in operation.get("responses", {}).items()
            ]
            yield Operation(
                method=method.upper(),
                path=path,
                tag=operation.get("tags", ["other"])[0],
                text=operation.get("description", ""),
                parameters=tuple(parameters),
                answers=tuple(answers),
            )


def _of_answer(answer: Mapping[str, Any]) -> str:
    for content in answer.get("content", {}).values():
        if "schema" in content:
            return _kind(content["schema"])
    return str(answer.get("description", ""))


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value must be, in few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_kind(one) for one in schema["anyOf"])
    words = [str(schema.get("format") or schema.get("type", "any"))]
    if "items" in schema:
        words.append(f"of {_kind(schema['items'])}")
    words += [f"{name} {schema[name]}" for name in ("minimum", "maximum", "maxLength") if name in schema]
    if "default" in schema:
        words.append(f"(default {schema['default']})")
    return " ".join(words)
