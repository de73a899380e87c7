"""`python -m autotrader.alerts.case VERB`."""

from autotrader import command

VERBS = {
    "open": "autotrader.alerts.case.open_case:open_case",
    "list": "autotrader.alerts.case.list_cases:list_cases",
    "note": "autotrader.alerts.case.note:note",
    "report": "autotrader.alerts.case.report:report",
    "close": "autotrader.alerts.case.close:close",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.alerts.case", VERBS))
