"""Settings of the platform, and the check of its credentials."""
