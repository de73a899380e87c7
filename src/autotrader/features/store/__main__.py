"""`python -m autotrader.features.store VERB`."""

from autotrader import command

VERBS = {
    "health_check": "autotrader.features.store.health_check:health_check",
    "retry_write": "autotrader.features.store.retry_write:retry_write",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.features.store", VERBS))
