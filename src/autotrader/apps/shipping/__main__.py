"""`python -m autotrader.apps.shipping`."""

from autotrader import command
from autotrader.apps.shipping.ship import ship

if __name__ == "__main__":
    raise SystemExit(command.run(ship))
