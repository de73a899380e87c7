"""`python -m autotrader.connectors.ibkr_connector VERB`."""

from __future__ import annotations

from autotrader import command

VERBS = {"test_connection": "autotrader.connectors.ibkr_connector.test_connection:test_connection"}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.connectors.ibkr_connector", VERBS))
