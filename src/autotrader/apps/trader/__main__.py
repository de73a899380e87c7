"""`python -m autotrader.apps.trader`."""

from autotrader import command
from autotrader.apps.trader.trade import trade

raise SystemExit(command.run(trade, prog="autotrader trade"))
