"""`python -m autotrader.apps.alerts`."""

from autotrader import command
from autotrader.apps.alerts.deliver import deliver

if __name__ == "__main__":
    raise SystemExit(command.run(deliver, prog="python -m autotrader.apps.alerts"))
