"""`python -m autotrader.continuity VERB`."""

from autotrader import command

VERBS = {
    "backup": "autotrader.continuity.backup:backup",
    "restore": "autotrader.continuity.restore:restore",
    "verify": "autotrader.continuity.verify:verify",
    "list": "autotrader.continuity.list_backups:list_backups",
    "failover": "autotrader.continuity.failover:failover",
    "drill": "autotrader.continuity.drill:drill",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.continuity", VERBS))
