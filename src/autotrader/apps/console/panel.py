"""What a panel is, and what reading one comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autotrader.apps.console.sources import Sources


@dataclass(frozen=True, slots=True)
class Filled:
    """There is something to show: values for the panel's template."""

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Missing:
    """There is nothing yet.

    Attributes
    ----------
    what : str
        What is missing, in a sentence.
    command, dag : str
        What fills it; empty where that is not the way, or nothing needs to be done.
    """

    what: str
    command: str = ""
    dag: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The source did not answer; `reason` is for people, without secrets."""

    reason: str


Content = Filled | Missing | Failed


@dataclass(frozen=True, slots=True)
class Panel:
    """One question that the page answers.

    Attributes
    ----------
    id : str
        Also of its template, `panels/<id>.html.j2`.
    title : str
    read : Callable
        May block, and raise.
    dags : tuple of str
        DAGs whose outcome it shows.
    span : str
        Room in the page: `wide` takes the whole width, `tall` two rows; empty takes its share.
    """

    id: str
    title: str
    read: Callable[[Sources], Filled | Missing]
    dags: tuple[str, ...] = ()
    span: str = ""
