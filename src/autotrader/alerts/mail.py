"""From values to a message: templates, rendered twice, as HTML and as plain text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from autotrader.domain.errors import BadData, ConfigurationError

_TEMPLATES = Path(__file__).parent / "templates"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that travels in the letter; its HTML shows it as `cid:<name>`.

    Attributes
    ----------
    name : str
        Letters, digits, `._-`.
    """

    name: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be said, to whomever the settings name.

    Attributes
    ----------
    key : str
        Of what it is about: a letter of the same key is not sent again. Letters, digits, `._-`.
    subject : str
        One line.
    html, text : str
        The same, twice.
    pictures : tuple of Picture
        That the HTML shows.
    """

    key: str
    subject: str
    html: str
    text: str
    pictures: tuple[Picture, ...] = ()

    def page(self) -> str:
        """The HTML as a file of its own, its pictures in it."""
        html = self.html
        for picture in self.pictures:
            data = base64.b64encode(picture.png).decode()
            html = html.replace(f"cid:{picture.name}", f"data:image/png;base64,{data}")
        return html


def render(
    template: str, *, key: str, subject: str, pictures: Sequence[Picture] = (), **values: Any
) -> Letter:
    """Fill a pair of templates, `<template>.html.j2` (escaped) and `<template>.txt.j2`.

    Raises
    ------
    jinja2.UndefinedError
        If a template names a value that was not given: a mistake of ours.
    """
    environment = _environment()
    values |= {"subject": subject}
    html = environment.get_template(f"{template}.html.j2").render(values)
    text = environment.get_template(f"{template}.txt.j2").render(values)
    return Letter(key, subject, html, text.strip() + "\n", tuple(pictures))


def message(letter: Letter, *, sender: str, recipient: str | None, at: datetime) -> bytes:
    """The letter as it travels, and as an `.eml` file that mail programs open.

    Its Message-ID is made of key and recipient, so that one that was delivered twice is known for one.

    Parameters
    ----------
    sender : str
        Bare address.
    recipient : str or None
        Bare address; None: the message is addressed to nobody yet.
    at : datetime
        Wall time, UTC.

    Raises
    ------
    BadData
        If key, subject or a picture's name would reach into another header.
    ConfigurationError
        If an address is none.
    """
    if not _KEY.fullmatch(letter.key):
        raise BadData(f"expected a key of letters, digits and ._- for a mail, was {letter.key!r}")
    if not letter.subject.isprintable():
        raise BadData(f"expected a mail's subject as one line, was {letter.subject!r}")
    require_address(sender)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    if recipient is not None:
        mail["To"] = require_address(recipient)
    mail["Subject"] = letter.subject
    mail["Date"] = format_datetime(at)
    digest = hashlib.sha256(f"{letter.key}\n{recipient or ''}".encode()).hexdigest()
    mail["Message-ID"] = f"<{digest[:40]}@{sender.partition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
    mail.set_content(letter.text, cte="quoted-printable")
    mail.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    _attach(mail, letter.pictures)
    return mail.as_bytes()


def _attach(mail: EmailMessage, pictures: Sequence[Picture]) -> None:
    """Beside the HTML that shows them, so that nothing is loaded from elsewhere."""
    for picture in pictures:
        if not _KEY.fullmatch(picture.name):
            raise BadData(f"expected a picture's name of letters, digits and ._-, was {picture.name!r}")
        html = mail.get_body(("html",))
        assert isinstance(html, EmailMessage)  # noqa: S101 - it was added just now
        html.add_related(
            picture.png,
            maintype="image",
            subtype="png",
            cid=f"<{picture.name}>",
            filename=f"{picture.name}.png",
            disposition="inline",
        )


def require_address(text: str) -> str:
    """The text if it is a bare address, such as `risk@example.com`.

    Raises
    ------
    ConfigurationError
        If it is anything else, above all more than one line.
    """
    if not _ADDRESS.fullmatch(text):
        raise ConfigurationError(f"expected a mail address such as risk@example.com, was {text!r}")
    return text


def money(amount: Decimal | None, currency: str = "", *, sign: bool = False) -> str:
    """`-1,234.50 USD`; a dash where it is not known. `sign`: with a plus, too."""
    if amount is None:
        return "–"
    return f"{amount:{'+' if sign else ''},.2f} {currency}".rstrip()


def exact(number: Decimal | None) -> str:
    """All its digits, without trailing zeros or an exponent."""
    if number is None:
        return "–"
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def price(number: Decimal | None) -> str:
    """Eight significant digits, or all before the point."""
    if number is None or not number:
        return exact(number)
    places = max(7 - number.adjusted(), 0)
    return exact(round(number, places))


def share(fraction: float | None) -> str:
    return "–" if fraction is None else f"{fraction:.1%}"


def fine_share(fraction: float) -> str:
    """Of what is nearly whole: 99.95%."""
    return f"{fraction:.2%}"


def ratio(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"


def instant(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def page(template: str, **values: Any) -> str:
    """Fill `<template>.md.j2`, a page of Markdown."""
    return _environment().get_template(f"{template}.md.j2").render(values).strip() + "\n"


def markdown(text: str | None) -> str:
    """The text as it is, in a line or a table's cell: nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", " ".join((text or "–").split()))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": money,
        "exact": exact,
        "price": price,
        "share": share,
        "fine_share": fine_share,
        "ratio": ratio,
        "instant": instant,
        "markdown": markdown,
    }
    return environment
