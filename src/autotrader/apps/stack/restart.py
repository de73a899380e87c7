"""Start the local stack again, without running a pipeline."""

from __future__ import annotations

from rich.console import Console

from autotrader import command
from autotrader.apps.stack import services
from autotrader.apps.stack.quickstart import market_of
from autotrader.config.settings import Settings, load_settings
from autotrader.domain.errors import ConfigurationError, NotFound
from autotrader.ports.clock import MarketClock


def restart(*, service: str | None = None, settings: Settings, clock: MarketClock) -> command.Result:
    """Stop and start every process of the local stack, or one of them; data and runs stay.

    Prediction services follow: the controller starts again what is meant to run.

    Parameters
    ----------
    service : str or None
        One process, as `autotrader status` calls it.
    """
    if not (settings.home / "market.json").exists():
        raise NotFound(f"expected a platform in {settings.home}, was none: `make quickstart` makes one")
    processes = services.table(settings)
    if service is None:
        stopped = services.stop(settings)
    else:
        known = processes.names()
        if service not in known:
            named = ", ".join(known) or "none: nothing runs, leave SERVICE out"
            raise ConfigurationError(f"expected a service of {named}, was {service!r}")
        stopped = processes.stop_all([service])
    # As the user has set it: what the stack decided before, it decides again.
    market = market_of(load_settings(of_stack=False), clock)
    started = services.start(settings, market, Console(stderr=True).print)
    running = [name for name in services.table(started).names() if processes.process(name)]
    return command.Result(
        {"stopped": stopped, "running": running},
        f"stopped {', '.join(stopped) or 'nothing'}; running: {', '.join(running)}",
    )


if __name__ == "__main__":
    raise SystemExit(command.run(restart))
