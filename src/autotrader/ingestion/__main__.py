"""`python -m autotrader.ingestion VERB`."""

from autotrader import command

VERBS = {
    "manual_fetch": "autotrader.ingestion.manual_fetch:manual_fetch",
    "rebuild": "autotrader.ingestion.rebuild:rebuild",
    "restore": "autotrader.ingestion.restore:restore",
    "swap_rebuilt": "autotrader.ingestion.swap_rebuilt:swap_rebuilt",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.ingestion", VERBS))
