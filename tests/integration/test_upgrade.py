"""An upgrade of the platform and the way back, rehearsed with the code of the version before.

The version before is what the repository held when the newest migration was not there yet. It makes a
database, this code upgrades it, the version before goes on with it, and this code takes it over again:
every row is still there each time.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autotrader.db.engine import connect, open_database
from autotrader.db.schema import HEAD, revision
from tests.services import empty_database

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
REPLACED = {"system_state", "leases"}  # whoever writes replaces their rows; everything else is added to
MIGRATIONS = "src/autotrader/db/migrations/versions"

# Run by either version: what it is asked for goes in and comes out as JSON.
DESK = """
import json, sys
from datetime import UTC, datetime
from decimal import Decimal
import autotrader
from autotrader.bootstrap import Container
from autotrader.config.settings import load_settings
from autotrader.db.schema import HEAD, revision
from autotrader.domain.trading import RunStatus
from autotrader.ports.events import Event, EventType
from autotrader.ports.trading import AccountState, Change, EquityPoint, Page

name, = sys.argv[1:]
desk, now = Container(load_settings()), datetime.now(UTC)
desk.events.record(Event(name, EventType.AUDIT, "info", f"written by {name}", "test", now, data={"n": 1}))
records = desk.trading_records
lease = records.acquire("main", name, now=now, seconds=60)
equity = Decimal("100000.25")
state = records.state("main") or AccountState(
    account="main", strategy_id="s", venue="paper", status=RunStatus.STOPPED, heartbeat_at=now,
    started_at=now, owner=name, source="recorded", base_currency="USD", initial_equity=equity,
    peak_equity=equity, day_start_equity=equity, equity=equity, cash={"USDT": equity},
)
records.write(lease, Change(state=state, equity=(EquityPoint("main", now, equity, equity, 0.0, Decimal(0)),)))
records.release(lease, now=now)
print(json.dumps({
    "code": autotrader.__file__,
    "head": HEAD,
    "revision": revision(desk.engine),
    "events": [event.key for event in desk.events.recent(type=EventType.AUDIT)],
    "points": len(records.equity("main", Page())),
}))
"""


@pytest.fixture(scope="module")
def version_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they were before the newest migration that is committed."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout

    newest = sorted(git("ls-tree", "--name-only", "HEAD", f"{MIGRATIONS}/").decode().split())
    migration = [name for name in newest if Path(name).name[:4].isdigit()][-1]
    added = git("log", "--diff-filter=A", "--format=%H", "--", migration).decode().split()
    parent = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{added[-1]}^"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    if not parent:
        pytest.skip("needs the history of the repository: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(git("archive", parent, "src"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_database(request.param, tmp_path)


def work(source: Path, name: str, url: str, home: Path) -> dict[str, Any]:
    """Let the version of these sources open the database, write, and say what it finds."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTOTRADER_")}
    environment |= {
        "AUTOTRADER_HOME": str(home),
        "AUTOTRADER_DATABASE__URL": url,
        "PYTHONPATH": str(source),
    }
    done = subprocess.run(
        [sys.executable, "-c", DESK, name],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["code"]).is_relative_to(source)
    return found


def rows(url: str, tables: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    """Every row of these tables and columns, or of all that there are."""
    engine = connect(url)
    inspector = sa.inspect(engine)
    chosen = tables or {
        name: sorted(column["name"] for column in inspector.get_columns(name))
        for name in inspector.get_table_names()
        if name != "alembic_version"
    }
    with engine.connect() as connection:
        found = {
            name: sorted(
                map(repr, connection.execute(sa.select(*map(sa.column, columns)).select_from(sa.table(name))))
            )
            for name, columns in chosen.items()
        }
    engine.dispose()
    return {"tables": dict(chosen), "rows": found}


def test_an_upgrade_keeps_every_row_and_so_does_the_way_back(
    url: str, version_before: Path, tmp_path: Path
) -> None:
    before = work(version_before, "before", url, tmp_path)
    assert before["revision"] == before["head"] < HEAD
    kept = rows(url)

    open_database(url).dispose()  # the upgrade: the first process of the new version that opens it
    assert revision(connect(url)) == HEAD
    assert rows(url, kept["tables"])["rows"] == kept["rows"]
    after = work(ROOT / "src", "after", url, tmp_path)
    assert (after["events"], after["points"]) == (["after", "before"], 2)
    kept = rows(url)

    # The downgrade: the code of the version before, on the database as it is.
    again = work(version_before, "before-again", url, tmp_path)
    assert again["revision"] == HEAD
    assert (again["events"], again["points"]) == (["before-again", "after", "before"], 3)
    found = rows(url, kept["tables"])["rows"]
    replaced = {name for name, those in kept["rows"].items() if not set(those) <= set(found[name])}
    assert replaced == REPLACED

    once_more = work(ROOT / "src", "after-again", url, tmp_path)
    assert once_more["points"] == 4
    assert len(once_more["events"]) == 4
