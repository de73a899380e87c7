"""`python -m autotrader.apps.api`."""

from autotrader import command
from autotrader.apps.api.serve import serve

if __name__ == "__main__":
    raise SystemExit(command.run(serve))
