"""`python -m autotrader.alerts VERB`."""

from autotrader import command

VERBS = {
    "send": "autotrader.alerts.send:send",
    "list": "autotrader.alerts.list_alerts:list_alerts",
    "acknowledge": "autotrader.alerts.acknowledge:acknowledge",
    "resolve": "autotrader.alerts.resolve:resolve",
    "requeue": "autotrader.alerts.requeue:requeue",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.alerts", VERBS))
