"""Verbs that move one step at a time."""

from autotrader import command

VERBS = {
    "deploy_green": "autotrader.deployment.blue_green.deploy_green:deploy_green",
    "wait_for_ready": "autotrader.deployment.blue_green.wait_for_ready:wait_for_ready",
    "switch_traffic": "autotrader.deployment.blue_green.switch_traffic:switch_traffic",
    "drain": "autotrader.deployment.blue_green.drain:drain",
    "scale_down": "autotrader.deployment.blue_green.scale_down:scale_down",
}

if __name__ == "__main__":
    raise SystemExit(command.run_noun("autotrader.deployment.blue_green", VERBS))
