"""Ask each service whether it accepts the credential that is configured for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import BaseModel, SecretStr

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.errors import (
    AutotraderError,
    ConfigurationError,
    ExitCode,
    Refused,
    Rejected,
    Unreachable,
)
from autotrader.ports.credentials import (
    CredentialCheck,
    CredentialChecks,
    CredentialReport,
    CredentialState,
)

# Worst last: a key that could empty the account outweighs everything else.
EXIT_CODES = {
    CredentialState.FINE: ExitCode.DONE,
    CredentialState.UNUSED: ExitCode.DONE,
    CredentialState.UNREACHABLE: ExitCode.UNREACHABLE,
    CredentialState.MISSING: ExitCode.USAGE,
    CredentialState.WRONG: ExitCode.FAILED,
    CredentialState.FORBIDDEN: ExitCode.REFUSED,
}


def verify_credentials(*, settings: Settings, checks: CredentialChecks) -> command.Result:
    """Check every configured credential against its service; no credential is printed.

    The exit code is that of the worst: 4 a venue key may withdraw, 1 a service refused one, 2 one
    is missing, 3 a service did not answer, 0 all are fine or unused.
    """
    secrets = _secrets_of(settings)
    reports = [_without(secrets, report) for report in asyncio.run(_verify_all(checks()))]
    worst = max((r.state for r in reports), key=list(EXIT_CODES).index, default=CredentialState.FINE)
    width = max((len(r.name) for r in reports), default=0)
    lines = [f"{r.name:<{width}}  {r.state.value:<11}  {r.reason}" for r in reports]
    data = {"worst": worst, "credentials": reports}
    return command.Result(data, "\n".join(lines), EXIT_CODES[worst])


# What keeps real orders from being sent, by what a check found.
_OBJECTIONS: dict[CredentialState, type[AutotraderError]] = {
    CredentialState.UNUSED: ConfigurationError,
    CredentialState.UNREACHABLE: Unreachable,
    CredentialState.MISSING: ConfigurationError,
    CredentialState.WRONG: Rejected,
    CredentialState.FORBIDDEN: Refused,
}


async def require_confirmed(name: str, settings: Settings, checks: CredentialChecks) -> CredentialReport:
    """Ask one service whether its credential is good, for whoever is about to send orders with it.

    Parameters
    ----------
    name : str
        Of the service, as its check is named.

    Raises
    ------
    Refused
        If the credential may withdraw.
    Rejected, ConfigurationError, Unreachable
        If it is wrong or missing, or the service did not say: what is not confirmed sends no order.
    """
    (check,) = (check for check in checks() if check.name == name)
    report = _without(_secrets_of(settings), await check.verify())
    objection = _OBJECTIONS.get(report.state)
    if objection is not None:
        raise objection(
            f"expected a confirmed credential of {name} before any order, was {report.state}: {report.reason}"
        )
    return report


async def _verify_all(checks: Sequence[CredentialCheck]) -> list[CredentialReport]:
    return await asyncio.gather(*(check.verify() for check in checks))


def _secrets_of(settings: BaseModel) -> set[str]:
    """Every secret of the settings."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
        elif isinstance(value, BaseModel):
            found |= _secrets_of(value)
    return found - {""}


def _without(secrets: set[str], report: CredentialReport) -> CredentialReport:
    """The report, whatever a library put into its error messages."""
    reason = report.reason
    for secret in secrets:
        reason = reason.replace(secret, "***")
    return CredentialReport(report.name, report.state, reason)


if __name__ == "__main__":
    raise SystemExit(command.run(verify_credentials))
