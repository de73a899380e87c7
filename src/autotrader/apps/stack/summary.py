"""What a quickstart made, as data for programs and as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from autotrader.apps.stack import airflow
from autotrader.apps.stack.market import MarketChoice
from autotrader.command import to_plain
from autotrader.config.settings import PREFIX, Settings
from autotrader.deployment.report import lines_of
from autotrader.ports.deployment import DeploymentRecords

_OUTCOMES = {"pass": "pass", "fail": "FAIL", "undecided": "undecided"}


@dataclass(frozen=True, slots=True)
class QuickstartSummary:
    """The quickstart's result; `--json` prints exactly this.

    Attributes
    ----------
    source : str
        `binance`, `recorded` or `SIMULATED`.
    rows : Mapping[str, int]
        Stored bars by instrument.
    quality : Mapping[str, object]
        `severity` and `reason` of the data-quality verdict.
    features : Mapping[str, object]
        `set`, `count` and stored `rows`.
    gates : Sequence[Mapping[str, object]]
        `name`, `value`, `bound`, `outcome`, `enforced`, `reason`.
    decision : str
        `promoted`, `rejected`, ...
    deployment : Mapping[str, object] or None
        `active_color`, `active_version`, `endpoint`, `stages` of the rollout that made it live (`stage`,
        `outcome`, `reason`, `seconds`, `evidence`); None where nothing is live.
    health_check : Mapping[str, object]
        `health`, and what drift, quality and performance came to.
    trading : Mapping[str, object] or None
        The last day traded on paper (`TradingSummary`); None where nothing is live.
    seconds : Mapping[str, float]
        By phase.
    """

    source: str
    instruments: Sequence[str]
    left_out: Mapping[str, str]
    rows: Mapping[str, int]
    quality: Mapping[str, Any]
    features: Mapping[str, Any]
    models_tried: Sequence[Mapping[str, Any]]
    model_name: str
    model_version: int | None
    semver: str | None
    gates: Sequence[Mapping[str, Any]]
    decision: str
    window: str
    reason: str
    report: str | None
    deployment: Mapping[str, Any] | None
    health_check: Mapping[str, Any]
    trading: Mapping[str, Any] | None
    seconds: Mapping[str, float]

    @classmethod
    def of(
        cls,
        settings: Settings,
        market: MarketChoice,
        *,
        health: Mapping[str, Any],
        validated: Mapping[str, Any],
        registered: Mapping[str, Any] | None,
        deployment: Mapping[str, Any] | None,
        health_check: Mapping[str, Any],
        trading: Mapping[str, Any] | None,
        seconds: Mapping[str, float],
    ) -> Self:
        """From what the tasks returned; `registered` is None where an integrity gate forbade it."""
        made = registered or {"version": None, "semver": None, "reason": "; ".join(validated["reasons"])}
        return cls(
            source=market.source,
            instruments=market.instruments,
            left_out=market.left_out,
            rows=health["rows"],
            quality={"severity": health["severity"], "reason": health["reason"]},
            features=health["features"],
            models_tried=validated["models_tried"],
            model_name=settings.strategy.strategy_id,
            model_version=made["version"],
            semver=made["semver"],
            gates=validated["gates"],
            decision=validated["decision"],
            window=validated["window"],
            reason=made["reason"],
            report=validated["report_url"],
            deployment=deployment,
            health_check=health_check,
            trading=trading,
            seconds=seconds,
        )


def render(summary: QuickstartSummary, settings: Settings, *, keep_running: bool) -> str:
    """The summary for a person at a terminal."""
    label = "  *** SIMULATED MARKET: not real prices ***" if summary.source == "SIMULATED" else ""
    parts = [
        f"\nMarket data: {summary.source}{label}",
        _table(("instrument", "bars"), [(name, f"{count:,}") for name, count in summary.rows.items()]),
        f"Data quality: {summary.quality['severity']} ({summary.quality['reason']})",
        "Features: {count} of {set}, {rows:,} rows".format(**summary.features),
        "\nModels tried",
        _table(
            ("family", "trials", "best skill", ""),
            [
                (m["family"], m["trials"], _number(m["best_skill"]), "chosen" if m["chosen"] else "")
                for m in summary.models_tried
            ],
        ),
        "\nGates",
        _table(
            ("gate", "value", "bound", "outcome", "in this environment", "why"),
            [
                (
                    g["name"],
                    _number(g["value"]),
                    g["bound"],
                    _OUTCOMES.get(g["outcome"], g["outcome"]),
                    "enforced" if g["enforced"] else "advisory",
                    g["reason"],
                )
                for g in summary.gates
            ],
        ),
        f"\nWindow: {summary.window}",
        f"Decision: {summary.decision}{_in_plain_words(summary)}",
        f"Registered: {summary.model_name} {summary.semver or '(nothing)'}"
        + (f" (MLflow version {summary.model_version})" if summary.model_version else ""),
        *_render_deployment(summary.deployment),
        f"\nHealth check: {summary.health_check['health']} ({summary.health_check['reason']})",
        *_render_trading(summary.trading, settings),
        "Seconds: " + ", ".join(f"{phase} {took:g}" for phase, took in summary.seconds.items()),
    ]
    if keep_running:
        login = f"login {settings.airflow.user} / {airflow.password(settings)}"
        parts += [
            "\nWhere to look",
            f"  Airflow   {settings.airflow_url}  ({login})",
            f"  Trading   {airflow.trading_page(settings)}  (in Airflow, same login)",
            f"  MLflow    {settings.mlflow_uri}",
            f"  Report    {summary.report or 'none'}",
            f"  Health    {summary.health_check['report']}",
            *_where_traded(settings, summary.trading),
            *([f"  Predict   {summary.deployment['endpoint']}/health"] if summary.deployment else []),
            "\nmake status shows what runs, make down stops it, make clean deletes it.",
        ]
    return "\n".join(parts)


def deployment_of(records: DeploymentRecords) -> dict[str, Any] | None:
    """What is live, and how it came to be; None where nothing is."""
    live = records.live()
    if live is None:
        return None
    slot = records.slots().get(live.candidate)
    return {
        "active_color": live.candidate.value,
        "active_version": live.version,
        "endpoint": slot.endpoint if slot else None,
        "rollout": live.id,
        "profile": live.profile,
        "stages": to_plain(lines_of(records, live.id)),
    }


def _render_deployment(deployment: Mapping[str, Any] | None) -> list[str]:
    if deployment is None:
        return ["\nDeployment: nothing is live"]
    return [
        f"\nDeployment: {deployment['active_version']} is live on {deployment['active_color']}",
        _table(
            ("stage", "verdict", "seconds", "why"),
            [
                (s["stage"], s["outcome"], f"{s['seconds']:.1f}", _short(s["reason"]))
                for s in deployment["stages"]
            ],
        ),
    ]


def _render_trading(trading: Mapping[str, Any] | None, settings: Settings) -> list[str]:
    if trading is None:
        return ["\nTrading: none, since nothing is live"]
    share = float(trading["pnl"]) / (float(trading["equity"]) - float(trading["pnl"]))
    reasons = f" ({'; '.join(trading['reasons'])})" if trading["reasons"] else ""
    return [
        f"\nTraded on paper: account {trading['account']}, {trading['bars']:,} minutes; "
        f"{trading['state'].upper()}{reasons}",
        f"  {trading['orders']} orders, {trading['fills']} fills, {trading['trades']} closed trades",
        *_why_no_order(trading, settings),
        f"  PnL {float(trading['pnl']):+,.2f} {trading['currency']} ({share:+.2%}), "
        f"Sharpe {_known(trading['sharpe'], '.2f')}, drawdown {_known(trading['max_drawdown'], '.2%')}, "
        f"winners {_known(trading['win_rate'], '.1%')}",
        f"  equity {trading['curve']}",
    ]


def _why_no_order(trading: Mapping[str, Any], settings: Settings) -> list[str]:
    if not trading["no_order_because"]:
        return []
    lines = [f"  no order: {trading['no_order_because']}"]
    if trading["source"] == "SIMULATED" and not settings.simulation.planted_signal:
        lines.append(
            "  A simulated market moves by chance; for one with something to find: make clean,"
            f" then {PREFIX}SIMULATION__PLANTED_SIGNAL=0.1 make quickstart"
        )
    return lines


def _where_traded(settings: Settings, trading: Mapping[str, Any] | None) -> list[str]:
    api = f"http://{settings.api.host}:{settings.api.port}"
    lines = [f"  API       {api}/docs"]
    if trading is not None:
        lines.append(f"  PnL       {api}/api/pnl?account={trading['account']}")
        lines.append(f"  Equity    {trading['picture']}")
    return lines


def _known(value: float | None, form: str) -> str:
    return "too little to say" if value is None else format(value, form)


def _short(reason: str) -> str:
    return reason if len(reason) <= 150 else f"{reason[:147]}..."


def _in_plain_words(summary: QuickstartSummary) -> str:
    short = [g["name"] for g in summary.gates if g["outcome"] != "pass" and not g["enforced"]]
    failed = [g["name"] for g in summary.gates if g["outcome"] != "pass" and g["enforced"]]
    if failed:
        return f" (enforced gates not passed: {', '.join(failed)})"
    if short:
        return (
            f" for paper trading in this environment; {len(short)} advisory gates did not pass:"
            " do not read it as a good model"
        )
    return ""


def _number(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    lines = [("  " + "  ".join(row)).rstrip() for row in padded]
    lines.insert(1, "  " + "  ".join("-" * width for width in widths))
    return "\n".join(lines)
