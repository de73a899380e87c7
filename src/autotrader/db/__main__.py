"""Verbs of the database."""

from autotrader import command

VERBS = {"check_connections": "autotrader.db.check_connections:check_connections"}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.db", VERBS))
