"""The HTTP API: what the platform knows, and what a person may ask of the trader."""
