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
    },
    "market data": {
        "manual-fetch": "autotrader.ingestion.manual_fetch:manual_fetch",
        "rebuild": "autotrader.ingestion.rebuild:rebuild",
        "validate": "autotrader.data.validate:validate",
        "check-completeness": "autotrader.data.check_completeness:check_completeness",
        "rollback-data": "autotrader.data.rollback:rollback",
    },
    "features": {
        "feature-health": "autotrader.features.store.health_check:health_check",
        "retry-write": "autotrader.features.store.retry_write:retry_write",
    },
    "models": {
        "get-model": "autotrader.registry.get:get",
        "mark-failed": "autotrader.registry.mark_failed:mark_failed",
        "rollback-model": "autotrader.registry.rollback:rollback",
    },
    "operations": {
        "verify-credentials": "autotrader.config.verify_credentials:verify_credentials",
        "check-connections": "autotrader.db.check_connections:check_connections",
        "run-step": "autotrader.pipelines.run_step:step",
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that argv names; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbs = {name: target for topic in VERBS.values() for name, target in topic.items()}
    if words and words[0] in verbs:
        return command.run(command.load(verbs[words[0]]), words[1:], prog=f"autotrader {words[0]}")
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
