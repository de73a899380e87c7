"""Alerts that belong together, and what is done about them."""
