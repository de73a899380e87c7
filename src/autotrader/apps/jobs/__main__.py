"""`python -m autotrader.apps.jobs VERB`."""

from autotrader import command

VERBS = {
    "list": "autotrader.apps.jobs.list_jobs:list_jobs",
    "show": "autotrader.apps.jobs.show:show",
    "dlq": "autotrader.apps.jobs.dlq:dlq",
    "requeue": "autotrader.apps.jobs.requeue:requeue",
    "cancel": "autotrader.apps.jobs.cancel:cancel",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.apps.jobs", VERBS))
