"""Verbs of the database."""

from autotrader import command

VERBS = {
    "check_connections": "autotrader.db.check_connections:check_connections",
    "prepare_server": "autotrader.db.prepare_server:prepare_server",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.db", VERBS))
