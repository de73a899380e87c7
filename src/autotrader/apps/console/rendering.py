"""From what a panel found to HTML: all is escaped, amounts keep their exact form beside the readable one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from autotrader.adapters.console_paths import api_docs_url, dag_url, web_address
from autotrader.apps.console.drawing import bar, sparkline
from autotrader.apps.console.panel import Content, Failed, Filled, Missing, Panel
from autotrader.apps.console.sources import Sources

UNKNOWN = "–"

_KINDS = {Filled: "filled", Missing: "missing", Failed: "failed"}


def render_panel(panel: Panel, content: Content, sources: Sources) -> str:
    """The inside of the panel's section."""
    values: Mapping[str, object] = content.values if isinstance(content, Filled) else {}
    return (
        templates()
        .get_template("panel.html.j2")
        .render(
            panel=panel,
            content=content,
            kind=_KINDS[type(content)],
            sources=sources,
            wall=sources.clock.now(),
            **values,
        )
    )


@cache
def templates() -> Environment:
    """Escaping all that is put in; a name that is misspelt is an error."""
    environment = Environment(
        loader=PackageLoader("autotrader.apps.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": amount,
        "quantity": quantity,
        "number": number,
        "share": lambda value: number(None if value is None else 100 * value, 1, " %"),
        "measured": measured,
        "instant": instant,
        "lasted": lasted,
        "web": web_address,
    }
    environment.globals |= {
        "sparkline": sparkline,
        "bar": bar,
        "dag_url": dag_url,
        "api_docs_url": api_docs_url,
    }
    return environment


def amount(value: Decimal | None, digits: int = 2, *, signed: bool = False) -> Markup:
    """To be read by people, with the exact amount as the element's value."""
    if value is None:
        return escape(UNKNOWN)
    shown = format(round(value, digits), f"{'+' if signed and value else ''},.{digits}f")
    tone = "" if not signed or not value else (" class=up" if value > 0 else " class=down")
    return Markup('<data{} value="{}">{}</data>').format(Markup(tone), format(value, "f"), shown)  # noqa: S704


def quantity(value: Decimal) -> Markup:
    """As many places as it has, up to eight."""
    whole, _, places = format(round(value, 8), ",f").partition(".")
    shown = f"{whole}.{places.rstrip('0')}".rstrip(".")
    return Markup('<data value="{}">{}</data>').format(format(value, "f"), shown)


def number(value: Any, digits: int = 2, unit: str = "") -> str:
    """A figure; what is not a finite number is shown as not known."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.{digits}f}{unit}"


def measured(value: Any) -> str:
    """A figure whose size nobody knows beforehand: four significant digits."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def instant(value: datetime | None) -> Markup:
    """UTC, to the minute, with the exact time as the element's value."""
    if value is None:
        return escape(UNKNOWN)
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M} UTC</time>').format(utc.isoformat(), utc)


def lasted(value: timedelta | None) -> str:
    """Such as `3 min`, `2.5 h`, `4 days`."""
    if value is None:
        return UNKNOWN
    seconds = value.total_seconds()
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 86_400 else f"{seconds / 86_400:.0f} days"
