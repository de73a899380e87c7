"""`python -m autotrader.data VERB`."""

from autotrader import command

VERBS = {
    "check_completeness": "autotrader.data.check_completeness:check_completeness",
    "rollback": "autotrader.data.rollback:rollback",
    "validate": "autotrader.data.validate:validate",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.data", VERBS))
