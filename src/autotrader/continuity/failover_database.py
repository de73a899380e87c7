"""The database that a region failover makes: whether it is there, where it answers, and who is told."""

from __future__ import annotations

import sqlalchemy as sa

from autotrader.adapters.aws_database import AVAILABLE, RegionDatabase
from autotrader.adapters.aws_region import Region
from autotrader.domain.errors import DependencyError, NotFound

_SECRETS = ("database-url", "ledger-url", "mlflow-database-url")
_GIVEN_UP = ("failed", "incompatible", "restore-error")  # how RDS's words for it begin


def is_available(database: RegionDatabase) -> bool:
    """Whether it answers by now.

    Raises
    ------
    DependencyError
        If RDS has given it up.
    """
    found = database.instance()
    if found is not None and found.status.startswith(_GIVEN_UP):
        raise DependencyError(f"expected the database to be restored, was {found.status}: see its events")
    return found is not None and found.status == AVAILABLE and found.endpoint is not None


def endpoint_of(database: RegionDatabase, target: Region) -> str:
    """Host and port.

    Raises
    ------
    NotFound
        If there is none.
    """
    found = database.instance()
    if found is None or found.endpoint is None:
        raise NotFound(f"expected a database {target.names.database} with an endpoint, was none")
    return found.endpoint


def tell_tasks(target: Region, endpoint: str) -> list[str]:
    """Have the secrets that tasks start with name this database; names of those that named another."""
    host, _, port = endpoint.partition(":")
    told = []
    for name in map(target.names.secret, _SECRETS):
        value = target.read_secret(name)
        if value is None:
            continue
        url = sa.make_url(value).set(host=host, port=int(port)).render_as_string(hide_password=False)
        if url != value:
            target.write_secret(name, url)
            told.append(name)
    return told
