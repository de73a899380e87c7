"""Make Airflow's login and database: `python -m autotrader.apps.stack.prepare_airflow`."""

from __future__ import annotations

from autotrader import command
from autotrader.apps.stack import airflow
from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.errors import ConfigurationError


def prepare_airflow(*, settings: Settings) -> command.Result:
    """Write the login of Airflow's UI and bring its database to its newest form; for containers.

    Which database it is say Airflow's own variables. Run it before Airflow's parts start; as often as you
    like.

    Raises
    ------
    ConfigurationError
        If no password is set: one that is made here, nobody else would know.
    DependencyError
        With the end of Airflow's own output if the migration fails.
    """
    if settings.airflow.password is None:
        raise ConfigurationError(f"{PREFIX}AIRFLOW__PASSWORD: expected a password, was empty: set it")
    airflow.prepare(settings, {})
    return command.Result(
        {"user": settings.airflow.user}, f"Airflow's database is ready, and its login {settings.airflow.user}"
    )


if __name__ == "__main__":
    raise SystemExit(command.run(prepare_airflow))
