"""A process's page of metrics for people: `python -m autotrader.diagnosis.metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum

from prometheus_client.core import Metric as Family

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.diagnosis.pages import Page, latencies, read_page, services
from autotrader.domain.errors import ExitCode
from autotrader.domain.metrics import METRICS, Unit

_UNITS = {metric.name: metric.unit for metric in METRICS}
_WORKERS = ("worker_", "queue_", "job_", "jobs_", "pipeline_", "backtest_")


class Subject(StrEnum):
    """Which part of the platform's pages."""

    API = "api"
    WORKER = "worker"
    ALL = "all"


def metrics(*, subject: Subject = Subject.API, settings: Settings) -> command.Result:
    """What processes count and measure now, readable; exit code 3 where no page can be read.

    Parameters
    ----------
    subject : Subject
        api: the API's page; worker: jobs, queues and pipelines, as the exporter tells of them; all: every
        page of ours.
    """
    names = {Subject.API: ("api",), Subject.WORKER: ("exporter",), Subject.ALL: services(settings)}[subject]
    pages = [read_page(settings, name) for name in names]
    prefixes = _WORKERS if subject is Subject.WORKER else ("",)
    lines: list[str] = []
    data: dict[str, object] = {}
    for page in pages:
        rows = list(_rows(page, prefixes))
        data[page.service] = {
            "url": page.url,
            "reason": page.reason,
            "metrics": None if page.families is None else rows,
        }
        lines += _render(page, rows)
    is_silent = all(page.families is None for page in pages)
    if is_silent:
        lines.append("no page can be read: `make status` shows what runs, `make quickstart` starts it")
    return command.Result(data, "\n".join(lines), ExitCode.UNREACHABLE if is_silent else ExitCode.DONE)


def _rows(page: Page, prefixes: tuple[str, ...]) -> Iterator[dict[str, object]]:
    families = [family for family in page.families or () if family.name.startswith(prefixes)]
    yield from _plain(family for family in families if family.type != "histogram")
    for latency in latencies(families):
        figures = {f"p{share * 100:g}": value for share, value in latency.percentiles.items()}
        yield {
            "name": latency.name,
            "labels": latency.labels,
            "count": latency.count,
            "mean": latency.mean,
            **figures,
        }


def _plain(families: Iterable[Family]) -> Iterator[dict[str, object]]:
    for family in families:
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                yield {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}


def _render(page: Page, rows: list[dict[str, object]]) -> list[str]:
    lines = [f"{page.service}  {page.url}  {page.reason}"]
    if page.families is not None and not rows:
        lines.append("  nothing of this kind yet")
    for row in rows:
        labels = row["labels"]
        named = ", ".join(f"{k}={v}" for k, v in labels.items()) if isinstance(labels, dict) else ""
        name = f"{row['name']}{{{named}}}" if named else str(row["name"])
        if "value" in row:
            lines.append(f"  {name:<70} {_value(str(row['name']), row['value'])}")
        else:
            told = (k for k in row if k not in ("name", "labels", "count"))
            figures = [f"{k} {_value(str(row['name']), row[k])}" for k in told]
            lines.append(f"  {name:<70} {row['count']} times, {', '.join(figures)}")
    return lines


def _value(name: str, value: object) -> str:
    if not isinstance(value, float):
        return "beyond the last bound"
    match _UNITS.get(name):
        case Unit.TIMESTAMP:
            return f"{datetime.fromtimestamp(value, UTC):%F %T} UTC"
        case Unit.BYTES:
            return f"{value / 2**20:,.1f} MiB"
        case Unit.SECONDS:
            return _seconds(value)
        case Unit.RATIO:
            return f"{value:.2%}"
    return f"{value:,.6g}"


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:,.1f} s"


if __name__ == "__main__":
    raise SystemExit(command.run(metrics))
