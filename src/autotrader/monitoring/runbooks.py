"""Keep the runbooks in step with what raises alerts: `python -m autotrader.monitoring.runbooks`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.alert_rules import RUNBOOKS
from autotrader.domain.errors import ConfigurationError, ExitCode
from autotrader.monitoring.runbook_faults import INDEX, alert_names, faults, with_facts, with_index
from autotrader.monitoring.runbook_pages import read_pages

FOLDER = Path("runbooks")
SERVICE_LOGS = Path("/var/log/trading-bot")  # as deploy/setup.sh makes it


def runbooks(*, settings: Settings, check: bool = False, shell: bool = False) -> command.Result:
    """Write what is generated in the runbooks, or check them; run it in the checkout.

    Generated are the facts below the title of an alert's page, and the table on the first page.

    Parameters
    ----------
    check : bool
        Change nothing; fail with a line for each thing that is wrong.
    shell : bool
        Print instead what a shell needs to run the blocks: programs, addresses, places.
    """
    if shell:
        exports = _exports(settings)
        lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
        programs = shlex.quote(str(Path(sys.executable).parent))
        return command.Result(exports, "\n".join([f'export PATH={programs}:"$PATH"', *lines]))
    if not FOLDER.is_dir():
        raise ConfigurationError(f"expected {FOLDER}/ here, was {Path.cwd()}: go to the checkout")
    if check:
        found = list(faults(Path.cwd(), read_pages(FOLDER)))
        return command.Result(
            {"faults": found},
            "\n".join(f"{FOLDER}/{fault}" if ": " in fault else fault for fault in found)
            or f"{FOLDER} is up to date",
            ExitCode.FAILED if found else ExitCode.DONE,
        )
    fresh = {FOLDER / INDEX: with_index((FOLDER / INDEX).read_text())}
    for name in alert_names():
        path = FOLDER / RUNBOOKS / f"{name}.md"
        if path.is_file():
            fresh[path] = with_facts(name, path.read_text())
    written = [path for path, text in fresh.items() if path.read_text() != text]
    for path in written:
        path.write_text(fresh[path])
    return command.Result({"written": written}, f"wrote {len(written)} pages of {FOLDER}")


def _exports(settings: Settings) -> dict[str, str]:
    """Names that the blocks use."""
    home = settings.home.resolve()
    logs = SERVICE_LOGS if SERVICE_LOGS.is_dir() else home / "processes"
    return {
        "AUTOTRADER_HOME": str(home),
        "LOGS": str(logs),
        "API": f"{'https' if settings.api.tls_certificate else 'http'}://{settings.api.host}:{settings.api.port}",
        "PROMETHEUS": f"http://127.0.0.1:{settings.monitoring.prometheus_port}",
        "ALERTMANAGER": f"http://127.0.0.1:{settings.monitoring.alertmanager_port}",
        "ACCOUNT": settings.trading.account,
        "ENVIRONMENT": settings.environment.value,
    }


if __name__ == "__main__":
    raise SystemExit(command.run(runbooks))
