"""Instruments that a person names."""

from __future__ import annotations

from collections.abc import Sequence

from autotrader.config.settings import Settings
from autotrader.domain.errors import NotFound
from autotrader.domain.instruments import InstrumentId


def select_instruments(settings: Settings, names: Sequence[str] | None) -> tuple[InstrumentId, ...]:
    """The named instruments; all of the settings if none is named.

    Parameters
    ----------
    names : sequence of str or None
        `venue:symbol`, or the symbol of an instrument in the settings.

    Raises
    ------
    NotFound
        If a symbol is not in the settings, or a venue is unknown.
    """
    known = settings.instruments()
    if not names:
        return known
    return tuple(dict.fromkeys(_one(name, known) for name in names))


def _one(name: str, known: Sequence[InstrumentId]) -> InstrumentId:
    if ":" in name:
        try:
            return InstrumentId.parse(name)
        except ValueError as error:
            raise NotFound(str(error)) from None
    found = [i for i in known if i.symbol == name]
    if len(found) != 1:
        shown = ", ".join(str(i) for i in known)
        raise NotFound(f"expected venue:symbol, or one of the settings' ({shown}), was {name!r}")
    return found[0]
