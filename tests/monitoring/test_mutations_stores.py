"""Faults of Redis, workers and disks raise their alerts, which arrive; the fault mended, they clear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.monitoring.faults_stores import CHAIN, DISK, FAULTS, REDIS_BYTES, Stores, small_disk
from tests.monitoring.parts import UNWATCHED_MOUNTS, celery_worker, debian, of_platform, redis_server
from tests.monitoring.watched import Watched, watching
from tests.services import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]


@contextlib.contextmanager
def stores(folder: Path) -> Iterator[tuple[Stores, Watched]]:
    """They run, with Debian's exporters beside them."""
    ports = {name: free_port() for name in ("exporter", "redis", "node")}
    with contextlib.ExitStack() as stack:
        redis, url = redis_server(folder, "--maxmemory", str(REDIS_BYTES))
        worker = celery_worker(folder, url)
        parts = (
            redis,
            worker,
            debian("prometheus-redis-exporter", folder, ports["redis"], "--redis.addr", url),
            debian("prometheus-node-exporter", folder, ports["node"], UNWATCHED_MOUNTS),
            of_platform(
                "exporter",
                folder,
                ports["exporter"],
                {
                    "AUTOTRADER_HOME": str(folder / "home"),
                    "AUTOTRADER_MONITORING__PROFILES": "distributed",
                    "AUTOTRADER_AIRFLOW__BROKER_URL": url,
                },
            ),
        )
        platform = Stores(redis, url, worker, stack.enter_context(small_disk(folder)))
        for part in parts:
            stack.callback(part.kill)
            part.start()
        profiles = ("redis", "distributed")
        yield platform, stack.enter_context(watching(folder / "monitoring", ports, profiles=profiles))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with stores(tmp_path_factory.mktemp("stores")) as (platform, watched):
        yield watched.live_through(platform, CHAIN, *(() if platform.disk is None else ((DISK,),)))


@pytest.mark.parametrize("told", [str(row) for fault in FAULTS for row in fault.rows])
def test_a_fault_is_told_of_until_it_is_mended(told: str, outcomes: Mapping[str, str]) -> None:
    if told not in outcomes:
        pytest.skip("needs a file system of its own: run as root, where mounting is permitted")
    assert not outcomes[told], outcomes[told]
