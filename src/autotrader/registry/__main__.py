"""Verbs of the model registry."""

from autotrader import command

VERBS = {
    "get": "autotrader.registry.get:get",
    "mark_failed": "autotrader.registry.mark_failed:mark_failed",
    "make_candidate": "autotrader.registry.make_candidate:make_candidate",
    "rollback": "autotrader.registry.rollback:rollback",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.registry", VERBS))
