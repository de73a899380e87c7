"""Drift of features and predictions, quality of what is served, performance over matured labels."""
