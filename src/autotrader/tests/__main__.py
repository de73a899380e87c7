"""`python -m autotrader.tests VERB`."""

from autotrader import command

VERBS = {"smoke": "autotrader.tests.smoke:smoke"}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.tests", VERBS))
