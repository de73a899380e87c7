"""Features in the lake, point-in-time: what was computed for each bar, and from when it was known."""
