"""Whether these settings are of the environment that somebody means: asked first by every script."""

from __future__ import annotations

from autotrader import command
from autotrader.config.settings import Environment, Settings
from autotrader.domain.errors import Refused


def require_environment(*, environment: Environment | None = None, settings: Settings) -> command.Result:
    """Say of which environment the settings are, and where its state lies; refuse another one.

    Parameters
    ----------
    environment : Environment or None
        The one that you mean; refused if the settings are of another.
    """
    if environment is not None and environment is not settings.environment:
        raise Refused(
            f"expected settings of {environment.value}, was {settings.environment.value}"
            " (AUTOTRADER_ENVIRONMENT): use a shell of that environment; nothing was changed"
        )
    data = {
        "environment": settings.environment,
        "home": settings.home.resolve(),
        "lake": settings.lake_uri,
    }
    return command.Result(data, "\n".join(f"{name}\t{value}" for name, value in data.items()))


if __name__ == "__main__":
    raise SystemExit(command.run(require_environment))
