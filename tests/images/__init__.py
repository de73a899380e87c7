"""The container images, without a container engine."""
