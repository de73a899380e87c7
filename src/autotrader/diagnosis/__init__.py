"""What a running platform says of itself: logs, errors, figures, and one report of all of it."""
