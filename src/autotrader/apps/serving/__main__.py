"""`python -m autotrader.apps.serving`."""

from autotrader import command
from autotrader.apps.serving.serve import serve

if __name__ == "__main__":
    raise SystemExit(command.run(serve))
