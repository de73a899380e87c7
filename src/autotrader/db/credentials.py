"""Does the database let us in?"""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from autotrader.db.engine import connect, database_file, reading
from autotrader.domain.errors import AutotraderError, ConfigurationError
from autotrader.ports.credentials import CredentialReport, CredentialState

# SQLSTATE class 28: https://www.postgresql.org/docs/current/errcodes-appendix.html
_REFUSED = "28"
_REFUSED_TEXT = "authentication failed"  # at connection time the driver has no SQLSTATE to give


class DatabaseCredential:
    """Checks a database URL by logging on; creates and migrates nothing.

    Parameters
    ----------
    url : str
        As `autotrader.db.engine.connect` takes it.
    """

    name = "database"

    def __init__(self, url: str) -> None:
        self._url = url

    async def verify(self) -> CredentialReport:
        """Log on and select a constant."""
        return await asyncio.to_thread(self._verify)

    def _verify(self) -> CredentialReport:
        try:
            engine = connect(self._url)
        except ConfigurationError as error:
            return self._report(CredentialState.WRONG, f"AUTOTRADER_DATABASE__URL: {error}")
        if engine.dialect.name == "sqlite" and not database_file(engine).exists():
            return self._report(CredentialState.UNUSED, "a SQLite file, made at first use, needs none")
        try:
            with reading(engine) as connection:
                connection.execute(sa.text("SELECT 1"))
        except AutotraderError as error:
            return self._report(_state_of(error), str(error))
        finally:
            engine.dispose()
        return self._report(CredentialState.FINE, f"{engine.url.render_as_string()} lets us in")

    def _report(self, state: CredentialState, reason: str) -> CredentialReport:
        return CredentialReport(self.name, state, reason)


def _state_of(error: AutotraderError) -> CredentialState:
    cause = error.__cause__
    refused = str(getattr(cause, "sqlstate", None) or "").startswith(_REFUSED)
    if refused or _REFUSED_TEXT in str(cause):
        return CredentialState.WRONG
    return CredentialState.UNREACHABLE
