"""Whether an account may trade, why not, and how near its limits are."""

from __future__ import annotations

from autotrader import command
from autotrader.apps.trader.asking import account_of
from autotrader.config.settings import Settings
from autotrader.domain.errors import ExitCode
from autotrader.domain.trading import TradingState
from autotrader.ports.clock import WallClock
from autotrader.ports.trading import TradingRecords


def risk_status(
    *,
    account: str | None = None,
    settings: Settings,
    records: TradingRecords,
    clock: WallClock,
) -> command.Result:
    """Whether an account may trade, why not, and how near its limits are.

    Exit code 1 if it is halted.

    Parameters
    ----------
    account : str
        Default: the setting.
    """
    state = account_of(records, settings, account)
    lease = records.lease(state.account)
    is_running = lease is not None and lease.expires_at > clock.now()
    day = state.day_start_equity - state.equity
    data = {
        "account": state.account,
        "state": state.state,
        "restrictions": [
            {"cause": r.cause, "state": r.state, "reason": r.reason, "since": r.since, "until": r.until}
            for r in state.restrictions
        ],
        "is_running": is_running,
        "owner": lease.owner if lease and is_running else None,
        "heartbeat_at": state.heartbeat_at,
        "bars_until": state.cursor,
        "equity": state.equity,
        "daily_loss": {"is": _share(day, state.day_start_equity), "limit": settings.risk.max_daily_loss},
        "drawdown": {
            "is": _share(state.peak_equity - state.equity, state.peak_equity),
            "limit": settings.risk.max_drawdown,
        },
        "consecutive_losses": {"is": state.consecutive_losses, "limit": settings.risk.halt_losses},
    }
    daily, fall = data["daily_loss"], data["drawdown"]
    lines = [
        f"account {state.account} is {state.state.value.upper()}"
        + (f", traded by {lease.owner}" if lease and is_running else ", and nobody trades it"),
        *(f"  {r.cause.value}: {r.reason}" for r in state.restrictions),
        f"  equity {state.equity:,.2f} {state.base_currency}; today's loss {daily['is']:.2%} of "  # type: ignore[index]
        f"{settings.risk.max_daily_loss:.2%}, drawdown {fall['is']:.2%} of {settings.risk.max_drawdown:.2%}, "  # type: ignore[index]
        f"{state.consecutive_losses} losses in a row of {settings.risk.halt_losses}",
        f"  heartbeat {state.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC, bars until {state.cursor or '-'}",
    ]
    halted = state.state is TradingState.HALTED
    return command.Result(data, "\n".join(lines), ExitCode.FAILED if halted else ExitCode.DONE)


def _share(lost: object, of: object) -> float:
    """Fraction lost, never below zero."""
    return max(0.0, float(lost) / float(of)) if of else 0.0  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(command.run(risk_status))
