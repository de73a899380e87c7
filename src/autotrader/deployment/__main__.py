"""Verbs of deployment."""

from autotrader import command

VERBS = {
    "check_agreement": "autotrader.deployment.check_agreement:check_agreement",
    "deploy": "autotrader.deployment.deploy:deploy",
    "emergency_rollback": "autotrader.deployment.emergency_rollback:emergency_rollback",
    "get_status": "autotrader.deployment.get_status:get_status",
    "list_versions": "autotrader.deployment.list_versions:list_versions",
    "resume": "autotrader.deployment.resume:resume",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.deployment", VERBS))
