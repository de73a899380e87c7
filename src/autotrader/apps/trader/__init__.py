"""The trader as a process: feeds, its view, its metrics, its commands."""
