"""The process that delivers alerts."""
