"""Stop the local stack."""

from __future__ import annotations

from autotrader import command
from autotrader.apps.stack import services
from autotrader.config.settings import Settings


def down(*, settings: Settings) -> command.Result:
    """Stop every process that quickstart started; data stays."""
    stopped = services.stop(settings)
    text = f"stopped {', '.join(stopped)}" if stopped else "nothing was running"
    return command.Result({"stopped": stopped}, text)


if __name__ == "__main__":
    raise SystemExit(command.run(down))
