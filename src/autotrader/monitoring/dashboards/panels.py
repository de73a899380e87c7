"""What a panel shows, in the platform's words; how Grafana says it is in `grafana.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from autotrader.domain.alert_rules import RULES
from autotrader.domain.metrics import Profile
from autotrader.monitoring.expressions import metrics_of

RATE = "$__rate_interval"  # Grafana's: four scrapes, or more where the picture is of months

# What rules read beside what they judge: a panel of it has nothing to do with them.
_CONDITIONS = frozenset({"exporter_source_up", "service_expected", "feature_drift_verdict"})


class Look(StrEnum):
    """Grafana's names of its panels."""

    NUMBER = "stat"
    GRAPH = "timeseries"
    BARS = "bargauge"
    TABLE = "table"
    TIMELINE = "state-timeline"


class Shown(StrEnum):
    """Grafana's names of units; queries are in base units, and Grafana scales."""

    NUMBER = "short"
    SHARE = "percentunit"  # a fraction of 1
    PERCENT = "percent"  # a hundredth, where a metric's name says so
    SECONDS = "s"
    BYTES = "bytes"
    BYTES_A_SECOND = "Bps"
    REQUESTS_A_SECOND = "reqps"
    A_SECOND = "cps"
    A_MINUTE = "cpm"
    MONEY = "money"  # with the name of the base currency behind it


class Color(StrEnum):
    """From well to ill; blue is neither."""

    BLUE = "blue"
    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Steps:
    """The colour from below, and from each value on upwards."""

    base: Color
    above: tuple[tuple[float, Color], ...] = ()


NEUTRAL = Steps(Color.BLUE)


def worse_above(warning: float, critical: float | None = None) -> Steps:
    """Green, yellow from the first and red from the second on; red from the first where it is alone."""
    if critical is None:
        return Steps(Color.GREEN, ((warning, Color.RED),))
    return Steps(Color.GREEN, ((warning, Color.YELLOW), (critical, Color.RED)))


def better_above(fair: float, good: float | None = None) -> Steps:
    """Red, yellow from the first and green from the second on; green from the first where it is alone."""
    if good is None:
        return Steps(Color.RED, ((fair, Color.GREEN),))
    return Steps(Color.RED, ((fair, Color.YELLOW), (good, Color.GREEN)))


@dataclass(frozen=True, slots=True)
class Query:
    """One line, or one for each set of labels.

    Attributes
    ----------
    expression : str
        PromQL in base units.
    legend : str
        A label in double braces stands for its value.
    """

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes
    ----------
    title, description : str
        The description says in plain words what is seen, and when it is bad.
    queries : tuple of Query
    shown : Shown
    steps : Steps
    words : Mapping of float to (str, Color)
        What is written in place of a value.
    if_empty : str
        What is written while there is no value.
    profile : Profile or None
        Without which the panel is absent.
    width : int
        Of 24.
    most : float or None
        The end of its scale, where there is one.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    look: Look = Look.GRAPH
    shown: Shown = Shown.NUMBER
    steps: Steps = NEUTRAL
    words: Mapping[float, tuple[str, Color]] | None = None
    if_empty: str = ""
    profile: Profile | None = None
    width: int = 8
    most: float | None = None

    @property
    def alerts(self) -> tuple[str, ...]:
        """Names of the alerts that judge what it shows: their pages are linked."""
        shown = {name for query in self.queries for name in metrics_of(query.expression)} - _CONDITIONS
        rules = (rule for rule in RULES if rule.group.profile in (None, self.profile))
        return tuple(dict.fromkeys(rule.name for rule in rules if shown & metrics_of(rule.expression)))


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """What a reader may choose, all of it at first.

    Attributes
    ----------
    name : str
    text : str
        Beside the choice.
    series : str
        Whose label of that name has the values.
    """

    name: str
    text: str
    series: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page.

    Attributes
    ----------
    name : str
        Of its file; with a prefix its uid, which links and bookmarks hold: never change it.
    """

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def uid(self) -> str:
        return f"autotrader-{self.name.replace('_', '-')}"

    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels
