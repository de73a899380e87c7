"""`python -m autotrader.apps.controller`."""

from autotrader import command
from autotrader.apps.controller.control import control

if __name__ == "__main__":
    raise SystemExit(command.run(control, prog="python -m autotrader.apps.controller"))
