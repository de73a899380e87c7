"""`python -m autotrader.apps.exporter`."""

from autotrader import command
from autotrader.apps.exporter.serve import serve

if __name__ == "__main__":
    raise SystemExit(command.run(serve, prog="python -m autotrader.apps.exporter"))
