"""Service levels: what share of it must be good over 30 days, and how that is measured.

The error ratio of each is recorded over several windows, and divided by its budget: the burn rate, 1
where the budget would last exactly 30 days. Alerts and the panel read what is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from autotrader.domain.thresholds import CANARY, FRESHNESS, SERVICE_LEVELS, BurnRate

ERROR_RATIO = "service_level:error_ratio"  # and a colon and the window, as for the next
BURN_RATE = "service_level:burn_rate"
OBJECTIVE = "service_level:objective"
STALE = "service_level:data_stale"

# A page that says how ill we are (503) is no failed request, and neither is a scrape.
ASKED = 'service!="",endpoint!~"/health|/metrics"'


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """One of them.

    Attributes
    ----------
    name : str
        Its label `slo`.
    objective : float
        Share that must be good.
    errors : str
        PromQL for the share that was not; `{window}` stands for the window.
    counts_runs : bool
        A nightly run says nothing about an hour: such a level is told slowly alone.
    meaning : str
        What is good.
    """

    name: str
    objective: float
    errors: str
    meaning: str
    counts_runs: bool = False

    @property
    def rates(self) -> tuple[BurnRate, ...]:
        """Those that are watched."""
        return SERVICE_LEVELS.slow if self.counts_runs else SERVICE_LEVELS.fast + SERVICE_LEVELS.slow

    @property
    def windows(self) -> tuple[timedelta, ...]:
        return tuple(sorted({span for rate in self.rates for span in (rate.long, rate.short)}))


@dataclass(frozen=True, slots=True)
class Recording:
    """A rule that records."""

    name: str
    expression: str
    slo: str


_LATENCY = '{service=~"prediction-.+",endpoint="/predict"'

LEVELS = (
    ServiceLevel(
        "availability",
        SERVICE_LEVELS.availability,
        f'(sum(rate(http_requests_total{{{ASKED},status=~"5.."}}[{{window}}])) or vector(0))'
        f" / sum(rate(http_requests_total{{{ASKED}}}[{{window}}]))",
        "a request is answered without a fault of ours",
    ),
    ServiceLevel(
        "prediction_latency",
        SERVICE_LEVELS.prediction_latency,
        f'1 - sum(rate(http_request_duration_seconds_bucket{_LATENCY},le="{CANARY.latency_seconds:g}"}}'
        f"[{{window}}])) / sum(rate(http_request_duration_seconds_count{_LATENCY}}}[{{window}}]))",
        f"a prediction is answered within {CANARY.latency_seconds * 1000:.0f} ms",
    ),
    ServiceLevel(
        "data_freshness",
        SERVICE_LEVELS.data_freshness,
        f"avg_over_time({STALE}[{{window}}])",
        f"the data lack less than {FRESHNESS.pipeline_warning.total_seconds() / 60:.0f} min of what the last "
        "data run was due to bring",
    ),
    ServiceLevel(
        "pipeline_success",
        SERVICE_LEVELS.pipeline_success,
        '(sum(increase(pipeline_runs_total{state="failed"}[{window}])) or vector(0))'
        " / sum(increase(pipeline_runs_total[{window}]))",
        "a run of a pipeline succeeds",
        counts_runs=True,
    ),
)


def recordings() -> Iterator[Recording]:
    """All that is recorded, in an order in which each finds what it reads."""
    bound = FRESHNESS.pipeline_warning.total_seconds()
    yield Recording(STALE, f"max(feature_overdue_seconds) > bool {bound:.0f}", "data_freshness")
    for level in LEVELS:
        yield Recording(OBJECTIVE, f"vector({level.objective})", level.name)
        for span in level.windows:
            window = promql_duration(span)
            ratio, burn = f"{ERROR_RATIO}:{window}", f"{BURN_RATE}:{window}"
            yield Recording(ratio, level.errors.replace("{window}", window), level.name)
            budget = f"{1 - level.objective:.6g}"
            yield Recording(burn, f'{ratio}{{slo="{level.name}"}} / {budget}', level.name)


def burns(rates: tuple[BurnRate, ...]) -> str:
    """PromQL for the levels whose budgets burn at one of these rates."""
    return " or ".join(
        f"({BURN_RATE}:{promql_duration(rate.long)} > {rate.factor:g}"
        f" and {BURN_RATE}:{promql_duration(rate.short)} > {rate.factor:g})"
        for rate in rates
    )


def promql_duration(span: timedelta) -> str:
    """As PromQL writes it: 5m, 26h, 3d."""
    seconds = round(span.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
