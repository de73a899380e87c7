"""Entry points of the probes that are shipped; what they do is in `autotrader.deployment.checks`."""
