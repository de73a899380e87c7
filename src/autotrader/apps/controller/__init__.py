"""The controller's process: one a strategy, always on."""
