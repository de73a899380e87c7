"""A local AWS: moto's server, and what it lacks."""
