"""The local stack: every process of the platform on this machine, started, watched and ended."""
