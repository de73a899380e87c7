"""`python -m autotrader.apps.exchange`."""

from autotrader import command
from autotrader.apps.exchange.serve import serve

if __name__ == "__main__":
    raise SystemExit(command.run(serve))
