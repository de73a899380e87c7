"""The pages of metrics that the platform's processes have, read as Prometheus would."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from autotrader.config.settings import Settings
from autotrader.domain.thresholds import READINESS
from autotrader.monitoring.scene import PLATFORM_TOKEN, Hosts, Scene


@dataclass(frozen=True, slots=True)
class Page:
    """What a process exports; `families` is None where it gave no page, and `reason` says why."""

    service: str
    url: str
    families: Sequence[Family] | None
    reason: str


def read_page(settings: Settings, service: str) -> Page:
    """The page of one of ours: api, exporter, trader, prediction-blue, prediction-green."""
    secrets = settings.home.resolve() / "monitoring" / "secrets"
    scene = Scene.of(settings, Hosts.LOOPBACK, secrets)
    target = next(target for target in scene.platform() if target.service == service)
    scheme = scene.api_scheme if service == "api" else "http"
    url = f"{scheme}://127.0.0.1:{target.port}/metrics"
    try:
        # On loopback; a certificate is of the name that callers use.
        answer = httpx.get(
            url,
            timeout=READINESS.answer_seconds,
            trust_env=False,
            verify=False,  # noqa: S501
            # To the API alone: whoever has the port of another one has no use for it.
            headers=_token(secrets / PLATFORM_TOKEN) if service == "api" else {},
        )
        families = list(text_string_to_metric_families(answer.raise_for_status().text))
    except (httpx.HTTPError, ValueError) as error:
        return Page(service, url, None, str(error).partition("\n")[0] or type(error).__name__)
    return Page(service, url, families, f"{len(families)} metrics")


def services(settings: Settings) -> tuple[str, ...]:
    """Of the processes that have a page."""
    return tuple(t.service for t in Scene.of(settings, Hosts.LOOPBACK, settings.home).platform())


@dataclass(frozen=True, slots=True)
class Latency:
    """Of a histogram's series: how many, their mean, and percentiles in seconds.

    A percentile is interpolated within its bucket, as Prometheus does it; None where it lies beyond the last
    bound.
    """

    name: str
    labels: Mapping[str, str]
    count: int
    mean: float
    percentiles: Mapping[float, float | None]


def latencies(families: Iterable[Family], shares: Sequence[float] = (0.5, 0.95, 0.99)) -> list[Latency]:
    """All series of all histograms that have counted something, the slowest first."""
    found: list[Latency] = []
    for family in families:
        if family.type != "histogram":
            continue
        buckets: defaultdict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = defaultdict(list)
        sums: dict[tuple[tuple[str, str], ...], float] = {}
        for sample in family.samples:
            key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            if sample.name.endswith("_bucket"):
                buckets[key].append((float(sample.labels["le"]), sample.value))
            elif sample.name.endswith("_sum"):
                sums[key] = sample.value
        for key, bounds in buckets.items():
            bounds.sort()
            count = bounds[-1][1]
            if count > 0:
                percentiles = {share: _quantile(bounds, share) for share in shares}
                mean = sums.get(key, math.nan) / count
                found.append(Latency(family.name, dict(key), int(count), mean, percentiles))
    return sorted(found, key=lambda latency: latency.mean, reverse=True)


def _quantile(bounds: Sequence[tuple[float, float]], share: float) -> float | None:
    rank, lower, below = share * bounds[-1][1], 0.0, 0.0
    for upper, count in bounds:
        if count >= rank:
            if math.isinf(upper):
                return None
            return lower + (upper - lower) * ((rank - below) / (count - below) if count > below else 1.0)
        lower, below = upper, count
    return None


def _token(path: Path) -> dict[str, str]:
    """Who asks from another machine needs one; on loopback it does no harm."""
    try:
        token = path.read_text().strip()
    except OSError:
        return {}
    return {"Authorization": f"Bearer {token}"} if token else {}
