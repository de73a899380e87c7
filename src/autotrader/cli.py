"""`autotrader`: the index of all verbs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from autotrader import __version__, command
from autotrader.domain.errors import ExitCode

# Words on the command line to the function that they call, by topic.
VERBS: dict[str, dict[str, str]] = {
    "local stack": {
        "quickstart": "autotrader.apps.stack.quickstart:quickstart",
        "status": "autotrader.apps.stack.status:status",
        "down": "autotrader.apps.stack.down:down",
        "clean": "autotrader.apps.stack.clean:clean",
        "restart": "autotrader.apps.stack.restart:restart",
        "scale": "autotrader.apps.stack.scale:scale",
    },
    "market data": {
        "stream": "autotrader.connectors.binance_ws.stream:stream",
        "manual-fetch": "autotrader.ingestion.manual_fetch:manual_fetch",
        "rebuild": "autotrader.ingestion.rebuild:rebuild",
        "validate": "autotrader.data.validate:validate",
        "check-completeness": "autotrader.data.check_completeness:check_completeness",
        "rollback-data": "autotrader.data.rollback:rollback",
        "restore-data": "autotrader.ingestion.restore:restore",
    },
    "features": {
        "feature-health": "autotrader.features.store.health_check:health_check",
        "retry-write": "autotrader.features.store.retry_write:retry_write",
    },
    "models": {
        "get-model": "autotrader.registry.get:get",
        "mark-failed": "autotrader.registry.mark_failed:mark_failed",
        "make-candidate": "autotrader.registry.make_candidate:make_candidate",
        "rollback-model": "autotrader.registry.rollback:rollback",
    },
    "deployment": {
        "deploy": "autotrader.deployment.deploy:deploy",
        "deployment-status": "autotrader.deployment.get_status:get_status",
        "list-versions": "autotrader.deployment.list_versions:list_versions",
        "resume-rollout": "autotrader.deployment.resume:resume",
        "check-agreement": "autotrader.deployment.check_agreement:check_agreement",
        "emergency-rollback": "autotrader.deployment.emergency_rollback:emergency_rollback",
        "controller": "autotrader.apps.controller.control:control",
        "ship-predictions": "autotrader.apps.shipping.ship:ship",
        "smoke": "autotrader.tests.smoke:smoke",
    },
    "trading": {
        "trade": "autotrader.apps.trader.trade:trade",
        "risk status": "autotrader.apps.trader.risk_status:risk_status",
        "risk halt": "autotrader.apps.trader.risk_halt:risk_halt",
        "risk resume": "autotrader.apps.trader.risk_resume:risk_resume",
        "reconcile": "autotrader.apps.trader.reconcile:reconcile",
        "strategy list": "autotrader.apps.trader.strategy_list:strategy_list",
        "strategy enable": "autotrader.apps.trader.strategy_enable:strategy_enable",
        "strategy disable": "autotrader.apps.trader.strategy_disable:strategy_disable",
        "incident export": "autotrader.apps.trader.incident_export:incident_export",
        "incident replay": "autotrader.apps.trader.incident_replay:incident_replay",
    },
    "health": {
        "monitoring-rules": "autotrader.monitoring.rules:rules",
        "health-check": "autotrader.monitoring.health_check:health_check",
        "exporter": "autotrader.apps.exporter.serve:serve",
    },
    "alerts": {
        "alerts send": "autotrader.alerts.send:send",
        "alerts list": "autotrader.alerts.list_alerts:list_alerts",
        "alerts acknowledge": "autotrader.alerts.acknowledge:acknowledge",
        "alerts resolve": "autotrader.alerts.resolve:resolve",
        "alerts requeue": "autotrader.alerts.requeue:requeue",
        "alerts deliver": "autotrader.apps.alerts.deliver:deliver",
        "case open": "autotrader.alerts.case.open_case:open_case",
        "case list": "autotrader.alerts.case.list_cases:list_cases",
        "case note": "autotrader.alerts.case.note:note",
        "case report": "autotrader.alerts.case.report:report",
        "case close": "autotrader.alerts.case.close:close",
    },
    "jobs": {
        "jobs list": "autotrader.apps.jobs.list_jobs:list_jobs",
        "jobs show": "autotrader.apps.jobs.show:show",
        "jobs dlq": "autotrader.apps.jobs.dlq:dlq",
        "jobs requeue": "autotrader.apps.jobs.requeue:requeue",
        "jobs cancel": "autotrader.apps.jobs.cancel:cancel",
    },
    "who may do what": {
        "approve": "autotrader.access.approve:approve",
        "approvals list": "autotrader.access.list_approvals:list_approvals",
        "token create": "autotrader.access.create_token:create_token",
        "token list": "autotrader.access.list_tokens:list_tokens",
        "token revoke": "autotrader.access.revoke_token:revoke_token",
    },
    "operations": {
        "verify-credentials": "autotrader.config.verify_credentials:verify_credentials",
        "check-connections": "autotrader.db.check_connections:check_connections",
        "run-step": "autotrader.pipelines.run_step:step",
        "send-alert": "autotrader.alerts.send:send",
        "reprocess": "autotrader.apps.operations.reprocess:reprocess",
        "production-check": "autotrader.readiness.check:check",
        "logs": "autotrader.diagnosis.logs:logs",
        "diag full": "autotrader.diagnosis.full:full",
        "diag errors": "autotrader.diagnosis.errors:errors",
        "diag performance": "autotrader.diagnosis.performance:performance",
        "diag metrics": "autotrader.diagnosis.metrics:metrics",
    },
    "disasters": {
        "backup": "autotrader.continuity.backup:backup",
        "restore": "autotrader.continuity.restore:restore",
        "backups list": "autotrader.continuity.list_backups:list_backups",
        "backups verify": "autotrader.continuity.verify:verify",
        "failover": "autotrader.continuity.failover:failover",
        "drill": "autotrader.continuity.drill:drill",
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that argv names; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbs = {name: target for topic in VERBS.values() for name, target in topic.items()}
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in verbs and len(words) >= count:
            return command.run(command.load(verbs[name]), words[count:], prog=f"autotrader {name}")
    if words in (["--version"], ["-V"]):
        print(f"autotrader {__version__}")
        return ExitCode.DONE
    if words and words[0] not in {"-h", "--help"}:
        print(f"expected a verb, was {words[0]!r}: `autotrader --help` lists them", file=sys.stderr)
        return ExitCode.USAGE
    print(_index())
    return ExitCode.DONE


def _index() -> str:
    lines = ["usage: autotrader VERB [--help] [--json]", ""]
    for topic, verbs in VERBS.items():
        lines += [topic, *(f"  {name:<20}{command.summary(target)}" for name, target in verbs.items()), ""]
    return "\n".join([*lines, command.EXIT_CODES])


if __name__ == "__main__":
    sys.exit(main())
