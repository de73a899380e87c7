"""`python -m autotrader.access VERB`."""

from autotrader import command

VERBS = {
    "approve": "autotrader.access.approve:approve",
    "create_token": "autotrader.access.create_token:create_token",
    "list_approvals": "autotrader.access.list_approvals:list_approvals",
    "list_tokens": "autotrader.access.list_tokens:list_tokens",
    "revoke_token": "autotrader.access.revoke_token:revoke_token",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.access", VERBS))
