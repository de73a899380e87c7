"""What the platform needs of the outside world: one Protocol a file, few methods each."""
