"""Pages of the documentation that are made from the code: commands, settings, metrics, alerts."""
