"""`python -m autotrader.connectors.binance_ws VERB`."""

from autotrader import command

VERBS = {
    "stream": "autotrader.connectors.binance_ws.stream:stream",
    "test_connection": "autotrader.connectors.binance_ws.test_connection:test_connection",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.connectors.binance_ws", VERBS))
