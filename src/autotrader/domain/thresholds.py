"""Every threshold that a check, gate, alert or dashboard uses, in one place, with its source.

One frozen dataclass per subject, each with one instance. "Contract" is the platform's published
behaviour; where a number is our own judgement, the comment says what it was judged on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from autotrader.domain.trading import Cause, TradingState

# ------------------------------------------------------------------------------------ data


@dataclass(frozen=True, slots=True)
class DataQualityThresholds:
    """Of bars as they are loaded, and as they lie in the lake. Shares are fractions of 1."""

    missing_share_warning: float = 0.05  # contract: missing > 5 % warns
    missing_share_critical: float = 0.10  # contract: > 10 % is critical
    # A bar whose close leaves both neighbours' by more than the floor and by more than this many
    # median absolute returns of its page, and comes back, is a spike and is refused; a move that
    # stays is a jump and is reported. Judged on 616,320 recorded minutes of four spot pairs
    # (2023-11 to 2024-02): the largest move is 9.6 % and 76 medians, the most medians are 93.
    spike_median_returns: float = 50.0
    spike_floor: float = 0.10
    # High or low this many times beyond the body: 1.05 at most in those minutes, and 30,000 in a
    # recorded daily bar of GOOG with a low of 0.01.
    reach_ratio: float = 5.0
    # Bars in a row with one price and no volume; those pairs have at most 1.
    stale_run_bars: int = 60
    quarantined_share_warning: float = 0.0  # any quarantined row is worth a look
    quarantined_share_critical: float = 0.05  # as missing: a quarantined row is a missing one


@dataclass(frozen=True, slots=True)
class FreshnessThresholds:
    """Of a table's newest row, behind the market clock, while the market is open."""

    fresh: timedelta = timedelta(minutes=5)  # contract
    recent: timedelta = timedelta(hours=1)  # contract
    stale: timedelta = timedelta(hours=24)  # contract; beyond is outdated
    pipeline_warning: timedelta = timedelta(minutes=60)  # contract
    pipeline_critical: timedelta = timedelta(minutes=120)  # contract


DATA_QUALITY = DataQualityThresholds()
FRESHNESS = FreshnessThresholds()

# ----------------------------------------------------------------------------------- gates


@dataclass(frozen=True, slots=True)
class GateThresholds:
    """Between a trained model and the registry's word that it may go live."""

    sharpe: float = 2.0  # contract: > 2.0, annualised
    max_drawdown: float = 0.15  # contract: < 15 %
    win_rate: float = 0.55  # contract: > 55 %
    trades: int = 100  # contract: > 100
    excess_net_pnl: float = 0.10  # contract: 10 % of allocated capital above the best baseline
    deflated_sharpe_probability: float = 0.95  # contract
    overfitting_probability: float = 0.20  # contract
    calibration_error: float = 0.05  # contract
    parity_difference: float = 1e-9  # contract: batch against live, relative
    # Probabilities leave ONNX as float32; copies that agree differ by up to 2e-7 on recorded bars.
    onnx_difference: float = 1e-5
    # A short window must not acquit by being asked for: whatever the setting, performance is not
    # passed on less than a year, where the standard error of an annual Sharpe ratio is about 1,
    # half of the bound.
    minimum_evaluation_days: float = 365.0
    sharpe_standard_error: float = 1.0
    # Purging and the last horizon cost a window some hours.
    window_coverage: float = 0.99
    # Two-sided; a window that is too short can fail a gate only beyond it.
    confidence: float = 0.95
    # A perfect forecast shows an error of up to 0.4 sqrt(10 bins / rows): 0.04 here.
    calibration_rows: int = 1_000


GATES = GateThresholds()

# ------------------------------------------------------------------- checks before a deployment


@dataclass(frozen=True, slots=True)
class SignOffThresholds:
    # Contract: expiring into rejection. Over a weekend, so that one asked for on Friday can be given.
    valid_hours: float = 72.0


@dataclass(frozen=True, slots=True)
class DeploymentCheckThresholds:
    """Of a version before it is deployed, and of a colour before it is asked by callers."""

    integration_pass_share: float = 0.95  # contract: integration tests >= 95 %
    parity_bars: int = 500  # newest bars of each instrument, live against batch
    golden_rows: int = 32  # newest rows of each instrument whose predictions are kept
    prediction_difference: float = 1e-5  # as the gates' `onnx_difference`
    # In process, one row: 6 us here for 200 trees. 5 % of what the contract allows a service (200 ms),
    # which also has to read the request, check it and write it down.
    row_p99_seconds: float = 0.010
    # The service is to stay below 150 MB; it holds about 50 MB without a model.
    model_memory_bytes: int = 100 * 2**20
    free_memory_bytes: int = 512 * 2**20  # a second service beside the one that runs, twice over
    free_disk_bytes: int = 2**30  # the log of predictions of a day at 10 requests a second, twice over
    service_p99_seconds: float = 0.200  # contract: p99 latency <= 200 ms
    service_requests: int = 300  # in a row, for that p99
    concurrency: int = 32
    row_sum_difference: float = 1e-5  # of three float32 probabilities from 1


SIGN_OFFS = SignOffThresholds()
DEPLOYMENT_CHECKS = DeploymentCheckThresholds()

# ------------------------------------------------------------------------------ monitoring


@dataclass(frozen=True, slots=True)
class DriftThresholds:
    """Of what a live model is fed, against what it learnt from."""

    psi_warning: float = 0.2  # contract: > 0.2 warns
    psi_critical: float = 0.3  # contract: > 0.3 is critical, if it is beyond chance as well
    # A window of a day differs from a quarter by more than that most days (the median of
    # volatility_200 is 0.7 on recorded minutes of four pairs): to warn, a PSI above the threshold
    # must be one that fewer than one window in a hundred has in any feature.
    unusual: float = 0.01
    # The budget of false alarms is a week's, and the check is made every hour.
    checks_a_week: int = 24 * 7
    # Served rows of a window that was calibrated, at least; with fewer, bins fill by chance.
    row_share: float = 0.5
    # Gaps at either end: a window of 24 h that covers 22 is one.
    covered_share: float = 0.9
    minimum_rows: int = 30  # below, nothing is compared: ten bins would hold three values each


@dataclass(frozen=True, slots=True)
class ServedQualityThresholds:
    """Of the features that requests carried. Missing shares are those of `DATA_QUALITY`."""

    outside_share_critical: float = 0.01  # a range is wide enough for a crash: beyond it is a fault
    # Served rows that one check compares with the batch path, of the newest day in the store; where
    # there are more, the check of the next hour takes others.
    parity_rows: int = 2_000


@dataclass(frozen=True, slots=True)
class ModelPerformanceThresholds:
    """Of a live model's predictions, once it is known what happened."""

    baseline_share: float = 0.90  # contract: alert below 90 % of the baseline
    minimum_rows: int = 100  # contract
    mean_confidence: float = 0.60  # contract: alert below
    calibration_error: float = 0.05  # as the gate
    # Overlapping labels leave few independent ones in a day; in a week there are 168 hours of them.
    window: timedelta = timedelta(days=7)


DRIFT = DriftThresholds()
SERVED_QUALITY = ServedQualityThresholds()
MODEL_PERFORMANCE = ModelPerformanceThresholds()

# ---------------------------------------------------------------------------- canary analysis


@dataclass(frozen=True, slots=True)
class CanaryThresholds:
    """Of a candidate during a rollout, beside the stable colour.

    The `*_alarm` fields are chances of a false rollback over a whole rollout, however often it is
    looked at; together they stay within `false_rollback`. Each is spent by one e-process, which runs
    through all stages. What they come to on recorded latencies is in `benchmarks/RESULTS.md`.
    """

    error_rate: float = 0.01  # contract: roll back above 1 %
    latency_seconds: float = 0.200  # contract: p99 above 200 ms
    slow_share: float = 0.01  # what a p99 leaves
    prediction_difference: float = 1e-5  # as the gates' `onnx_difference`; it is no matter of chance

    false_rollback: float = 0.01  # issue: 1 % over a whole rollout
    error_rate_alarm: float = 0.001
    latency_alarm: float = 0.001
    # Half of the budget to the comparisons: they decide soonest. The rest, 0.002, is kept for the leak
    # test, which is a rule with a wide margin and no e-process.
    error_comparison_alarm: float = 0.0025
    latency_comparison_alarm: float = 0.0025
    sharpe_alarm: float = 0.0005
    win_rate_alarm: float = 0.0005
    # Chance that one of the two bounds is passed by a candidate that breaks it. 0.025 each: without an
    # error it takes 500 requests, and the shortest watch of the fast profile has 600.
    false_pass: float = 0.05

    # Requests in a row whose failures may have one cause are one observation: ten seconds, or a look.
    bound_block_seconds: float = 10.0
    # Of comparisons, which weigh a block by its sign alone.
    comparison_block: int = 20
    # A difference of signs below this share of the blocks (0.1 % of the requests) is not worth a rollback.
    comparison_tolerance: float = 0.02
    # Between p99 as it was and twice that. An honest successor may be a little slower.
    latency_tolerance: float = 1.25
    # No caller that acts on 1-minute bars feels a p99 below a twentieth of what the contract allows.
    latency_floor_seconds: float = 0.010
    latency_warm_pairs: int = 200  # from which the first p99 of the stable colour is taken

    stage_pairs: int = 100  # of its own that a stage needs, so that it is more than a name
    instrument_pairs: int = 20  # of each instrument that the candidate owns

    health_failures: int = 3  # in a row: one may be lost on the way
    # A service is to stay below 150 MB and holds 50 to 100: what adds as much within a watch has a
    # leak. Warm-up and arenas add a part of it, once.
    leak_bytes: int = 64 * 2**20
    leak_observations: int = 3  # a third of the watch each

    sharpe_drop: float = 0.20  # contract: down > 20 % against stable
    win_rate_drop: float = 0.05  # contract: down > 5 points
    # Four horizons of an hour: sums of so many bars hardly know of each other.
    guard_block_periods: int = 240
    guard_scale_blocks: int = 5  # before the first bet, for the scale of returns
    # Instruments move together and labels overlap: so many trades count as one. Our judgement.
    trades_per_independent: float = 4.0


CANARY = CanaryThresholds()

# ------------------------------------------------------------------------------- the HTTP API


@dataclass(frozen=True, slots=True)
class ApiThresholds:
    """Of the API's own health checks, and of what it lets its clients do."""

    check_interval_seconds: float = 30.0  # contract: checks run every 30 s
    check_timeout_seconds: float = 5.0  # a tenth of a second is usual here; together below the interval
    free_disk_share: float = 0.15  # contract: DiskSpaceLow below 15 %
    listed_hours: float = 24.0  # contract: events default to 24 h
    listed_rows: int = 100  # contract
    most_rows: int = 1_000  # of one answer: 0.3 MB, 30 ms
    # A client that reads nothing for so many messages is far behind: ten instruments make ten a minute.
    stream_queue: int = 256
    # Messages that a client may have missed and still catch up with.
    stream_history: int = 10_000
    stream_poll_seconds: float = 0.5
    stream_clients: int = 64
    # A quiet stream says that it lives, and its token is looked at again.
    stream_heartbeat_seconds: float = 15.0
    body_bytes: int = 16_384  # of a request: a reason, and room
    webhook_bytes: int = 1_048_576  # of an Alertmanager's: a thousand alerts of 1 kB


API = ApiThresholds()

# --------------------------------------------------------------------------------- trading


@dataclass(frozen=True, slots=True)
class RiskThresholds:
    """Of the trader's own rules. Its limits are settings (`RiskSettings`)."""

    # The stop distance, in standard deviations of the return over the holding time: of normal returns
    # 2.3 % fall further. There is no stop order: positions end by time, so this is how far the price
    # may well have gone by then.
    stop_deviations: float = 2.0
    # An older price judges no order: as long as a silent feed is borne before it halts.
    price_age: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ReconciliationThresholds:
    """Of what we hold, beside what the venue says."""

    # Venues show cash to the cent, and round what we compute.
    cash_tolerance: Decimal = Decimal("0.01")
    # IB sends positions and cash some seconds after the execution that changed them, without a date.
    settling: timedelta = timedelta(seconds=10)
    # IB refreshes cash every three minutes (reqAccountUpdates): until then a difference may be a fill's.
    cash_lag: timedelta = timedelta(minutes=5)
    # Answers that cannot be concluded from (a snapshot older than our newest fill), in a row: a minute
    # apart, a venue that still cannot say what we hold is a reason to open nothing.
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class TradingFigureThresholds:
    """How much there must be before a figure is shown at all: None is better than chance."""

    # The standard error of a ratio per step of n returns is about 1 / sqrt(n): 0.18 here.
    sharpe_returns: int = 30
    value_at_risk_share: float = 0.05  # contract: VaR 95
    # As many horizons that do not overlap as it takes for one of them to be in the tail.
    value_at_risk_horizons: int = 20


@dataclass(frozen=True, slots=True)
class Degradation:
    """What is done while a part that the trader needs is away: one row of the table.

    Attributes
    ----------
    cause : Cause
        The part.
    after : timedelta
        From when on, since it was last well.
    state : TradingState
        ACTIVE: carry on.
    alert : str or None
        Name of the alert; None sends none yet.
    severity : str
        Of the alert.
    why, ends : str
        Why this is right, and how it ends.
    """

    cause: Cause
    after: timedelta
    state: TradingState
    alert: str | None
    severity: str
    why: str
    ends: str


RISK = RiskThresholds()
RECONCILIATION = ReconciliationThresholds()
TRADING_FIGURES = TradingFigureThresholds()

# Contract: a table, not an accident. The times are our judgement on bars of a minute; a closed market is
# no outage of its feed. An outage of the broker or the database lasts until the reconciliation after it
# agrees: what happened meanwhile is not known before.
DEGRADATION = (
    Degradation(
        Cause.FEED,
        timedelta(minutes=2),
        TradingState.REDUCING,
        None,
        "warning",
        "two bars are missing: what is decided on old prices opens nothing",
        "with the next closed bar of every instrument",
    ),
    Degradation(
        Cause.FEED,
        timedelta(minutes=5),
        TradingState.HALTED,
        "ComponentUnhealthy",
        "critical",
        "the prices are no longer fresh, so the price band of an order cannot be judged",
        "with the next closed bar of every instrument",
    ),
    Degradation(
        Cause.PREDICTIONS,
        timedelta(0),
        TradingState.ACTIVE,
        None,
        "info",
        "a bar without a prediction is one without an opinion: positions are kept until they expire",
        "with the next prediction",
    ),
    Degradation(
        Cause.PREDICTIONS,
        timedelta(minutes=3),
        TradingState.REDUCING,
        "ServiceDown",
        "critical",
        "readers have gone back to blue by now, so both colours are down: positions run off",
        "with the next prediction",
    ),
    Degradation(
        Cause.DATABASE,
        timedelta(0),
        TradingState.HALTED,
        "ComponentUnhealthy",
        "critical",
        "an order that cannot be recorded must not be sent, and the lease cannot be renewed",
        "when it answers, the lease is still ours, and the reconciliation agrees",
    ),
    Degradation(
        Cause.BROKER,
        timedelta(0),
        TradingState.ACTIVE,
        None,
        "info",
        "calls are repeated; an order that is not sent in its time expires",
        "when it answers and the reconciliation agrees",
    ),
    Degradation(
        Cause.BROKER,
        timedelta(seconds=15),
        TradingState.REDUCING,
        None,
        "warning",
        "fills may be unknown: what would open a position waits",
        "when it answers and the reconciliation agrees",
    ),
    Degradation(
        Cause.BROKER,
        timedelta(minutes=1),
        TradingState.HALTED,
        "ComponentUnhealthy",
        "critical",
        "the venue's dead man's switch has cancelled what worked: our orders are not what we think",
        "when it answers and the reconciliation agrees",
    ),
    Degradation(
        Cause.REGISTRY,
        timedelta(minutes=2),
        TradingState.ACTIVE,
        "ComponentUnhealthy",
        "critical",
        "the services hold their models; nothing can be deployed or rolled back through it meanwhile",
        "when it answers",
    ),
)

# ---------------------------------------------------------------------------------- alerts


@dataclass(frozen=True, slots=True)
class AlertThresholds:
    """Of the rules in `domain/alert_rules.py`, where no section above has the number already.

    Shares are fractions of 1. "Ours" is our judgement, on what it says.
    """

    # How long it must last before somebody is told.
    system_down: timedelta = timedelta(minutes=2)  # contract
    service_down: timedelta = timedelta(minutes=1)  # ours: a restart takes 10 s, a deployment none
    error_rate: timedelta = timedelta(minutes=5)  # contract
    latency: timedelta = timedelta(minutes=10)  # contract
    component_unhealthy: timedelta = timedelta(minutes=2)  # contract
    low_win_rate: timedelta = timedelta(hours=4)  # contract
    low_confidence: timedelta = timedelta(hours=2)  # contract
    job_failures: timedelta = timedelta(minutes=15)  # contract
    saturation: timedelta = timedelta(minutes=5)  # ours: training is meant to fill a processor for a while
    exporter_silence: timedelta = timedelta(minutes=1)  # ours: four scrapes, so that a lost one is none
    # Ours: a source or the trader that is away for less takes no alert with it; what is over is told so much
    # later.
    source_away: timedelta = timedelta(minutes=5)

    rate_window: timedelta = timedelta(minutes=5)  # ours: thirty scrapes; shorter ones are noise
    job_window: timedelta = timedelta(minutes=30)  # ours: jobs come one in minutes
    count_window: timedelta = timedelta(hours=1)  # ours: of what is counted, such as dead letters

    api_p95_seconds: float = 1.0  # contract
    query_p95_seconds: float = 1.0  # contract
    api_requests_per_second: float = 1_000.0  # contract
    pipeline_failures: int = 3  # contract: runs in a row
    deployment_failure: timedelta = timedelta(hours=1)  # ours: told for so long after a failed deployment
    win_rate: float = 0.50  # contract
    queue_length: int = 100  # contract
    dead_letters: int = 10  # contract; within `count_window`
    job_failure_share: float = 0.10  # contract
    backtest_failure_share: float = 0.20  # contract
    backtest_seconds: float = 3_600.0  # contract
    worker_silence: timedelta = timedelta(minutes=2)  # contract
    backup_age: timedelta = timedelta(hours=26)  # contract: a daily one, and two hours to make it
    backup_missing: timedelta = timedelta(minutes=1)  # ours
    connections_warning: float = 0.80  # contract
    connections_critical: float = 0.95  # contract
    redis_memory: float = 0.90  # contract
    cpu: float = 0.80  # contract
    memory: float = 0.85  # contract

    # Between two notices of what still holds.
    critical_repeat: timedelta = timedelta(minutes=5)  # contract
    warning_repeat: timedelta = timedelta(hours=1)  # contract
    info_repeat: timedelta = timedelta(hours=24)  # ours: a mail a day is a reminder, more is noise
    # A notice leaves within `for` and 30 s (contract): a scrape, an evaluation, and the wait for others
    # of its group, before the first notice or after it.
    scrape: timedelta = timedelta(seconds=10)
    evaluation: timedelta = timedelta(seconds=10)
    group_wait: timedelta = timedelta(seconds=5)
    group_interval: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class BurnRate:
    """An error budget of 30 days that is used up so many times too fast, in both windows.

    The long window says that it matters, the short one that it still goes on.
    """

    factor: float
    long: timedelta
    short: timedelta


@dataclass(frozen=True, slots=True)
class ServiceLevelThresholds:
    """Service levels over 30 days, and how fast a budget may be used before somebody is told."""

    window: timedelta = timedelta(days=30)
    availability: float = 0.999  # contract; of answered requests
    prediction_latency: float = 0.99  # contract: p99, within `CANARY.latency_seconds`
    # Ours: of the time, within `FRESHNESS.pipeline_warning` of what the last data run was due to bring.
    data_freshness: float = 0.99
    pipeline_success: float = 0.95  # ours: of runs; one failure in three weeks of a daily one
    # Source: Beyer et al., The Site Reliability Workbook (Google, 2018), chapter 5, "Recommended
    # parameters for an SLO-based alerting configuration": 2 % of the budget in an hour, 5 % in six, 10 % in
    # three days; the short windows are a twelfth.
    fast: tuple[BurnRate, ...] = (
        BurnRate(14.4, timedelta(hours=1), timedelta(minutes=5)),
        BurnRate(6.0, timedelta(hours=6), timedelta(minutes=30)),
    )
    slow: tuple[BurnRate, ...] = (BurnRate(1.0, timedelta(days=3), timedelta(hours=6)),)


ALERTS = AlertThresholds()
SERVICE_LEVELS = ServiceLevelThresholds()

# ------------------------------------------------------------------------------- dashboards


@dataclass(frozen=True, slots=True)
class PanelThresholds:
    """From where on a panel is yellow, and red; of what should be high, yellow, and green.

    Source: contract, section 14, unless another is named. Shares are fractions of 1. Panels whose numbers
    an alert or a gate has already take them from there.
    """

    cpu: tuple[float, float] = (0.70, 0.90)
    memory: tuple[float, float] = (0.80, 0.95)
    error_rate: tuple[float, float] = (0.005, CANARY.error_rate)
    latency_seconds: tuple[float, float] = (0.100, CANARY.latency_seconds)
    sharpe: tuple[float, float] = (1.5, GATES.sharpe)
    win_rate: tuple[float, float] = (ALERTS.win_rate, GATES.win_rate)
    drawdown: tuple[float, float] = (0.10, GATES.max_drawdown)
    profit_factor: tuple[float, float] = (1.0, 1.5)  # ours: below 1 it loses; 1.5 leaves room for a bad month


PANELS = PanelThresholds()

# ----------------------------------------------------------------------------- daily summary


@dataclass(frozen=True, slots=True)
class DailySummaryThresholds:
    """What the mail of the day shows. Our judgement: it is read on a telephone, in a minute."""

    newest_trades: int = 25
    strongest_signals: int = 5
    near_limit: float = 0.8  # share of a limit from which it is on the watch list


DAILY_SUMMARY = DailySummaryThresholds()


@dataclass(frozen=True, slots=True)
class WeeklyReportThresholds:
    """What the report of the week shows and points at. Our judgement."""

    alerts: int = 20  # open ones
    rollouts: int = 20
    features: int = 10  # that drifted
    budget_left: float = 0.25  # of a service level's budget, below which it is pointed at


WEEKLY_REPORT = WeeklyReportThresholds()

# -------------------------------------------------------------------------- rollback by scripts

# Contract 15 and the runbooks: what scripts/rollback_model_*.sh measure themselves against.
ROLLBACK_TRAFFIC_SECONDS = 60
ROLLBACK_SECONDS = 300
# Ours: after traffic was switched at once, a rollback has to name the version that it leaves for so long.
# Whoever asks for one may know only what was live before: two people who answer the same page do.
ROLLBACK_NAMED = timedelta(minutes=10)

# ----------------------------------------------------------------------------- disasters


@dataclass(frozen=True, slots=True)
class ContinuityTargets:
    """What a disaster may cost. Source: contract, section 15."""

    rto: timedelta = timedelta(hours=4)  # until it runs again
    rpo: timedelta = timedelta(hours=1)  # of data that is lost


CONTINUITY = ContinuityTargets()

# -------------------------------------------------------------------------- application alerts


@dataclass(frozen=True, slots=True)
class AlertingThresholds:
    """How alerts of our own are told where no Alertmanager does it. Source: contract, section 13."""

    suppress: timedelta = timedelta(minutes=15)  # contract; critical never
    escalate_critical: timedelta = timedelta(minutes=5)  # contract: unacknowledged
    escalate_others: timedelta = timedelta(hours=1)  # contract
    # Ours: news, of which nobody can say that it is over.
    info_open: timedelta = timedelta(hours=24)
    # Ours: alerts of one name wait so long for others of it. Within the contract's 30 s.
    group: timedelta = timedelta(seconds=20)
    messages_per_minute: int = 20  # ours, of each channel: a person can read no more
    listed_lines: int = 10  # of a message
    # Ours: clocks of two machines differ by less; a larger step back is a clock that was set.
    clock_tolerance: timedelta = timedelta(seconds=30)
    smtp_attempts: int = 3  # contract
    smtp_pause_seconds: float = 5.0  # contract
    first_pause_seconds: float = 5.0  # then doubled
    longest_pause_seconds: float = 300.0
    attempts: int = 10  # 23 minutes; then the next channel is asked
    # A process that dies while it sends: another one sends after so long. Above a channel's patience.
    claim: timedelta = timedelta(seconds=60)
    # Ours: Prometheus repeats for 15 minutes that an alert cleared. Who asks later is told nothing more.
    relayed_silence: timedelta = timedelta(minutes=20)
    # Ours: Alertmanager is told again within two minutes of what fires; a rule is evaluated in one.
    relayed_settled: timedelta = timedelta(minutes=5)
    end_repeated: timedelta = timedelta(minutes=15)  # ours: of our own alerts, as Prometheus does
    # Of the process itself, which is heard of every ten seconds; a channel that works takes seconds.
    delivery_silence: timedelta = timedelta(minutes=1)
    delivery_backlog: timedelta = timedelta(minutes=10)


ALERTING = AlertingThresholds()

# ------------------------------------------------------------------------------ before production


@dataclass(frozen=True, slots=True)
class ReadinessThresholds:
    """Of `scripts/production-check.sh`, where no section above has the number. Ours."""

    stage_seconds: float = 20.0  # patience with a stage: a far venue's time-outs end before
    answer_seconds: float = 5.0  # with one answer of a process
    secret_characters: int = 12  # 72 bits of a random one in base64
    # Binance refuses an order that is a second ahead of its clock, or older than its window of 3 s.
    clock_skew_warning_seconds: float = 0.5
    clock_skew_critical_seconds: float = 1.0
    query_ms: float = 100.0  # of `SELECT 1`: 0.1 here, 2 over a network
    rollout_patience: float = 2.0  # times what a stage may take
    load_per_core: float = 2.0
    token_days: float = 30.0  # left to the token of Alertmanager; monitoring.sh makes one anew before
    open_files: int = 1_024  # Airflow's scheduler holds a few hundred


READINESS = ReadinessThresholds()
