"""Features: one definition of each, evaluated over history and on the newest bar by the same code."""
