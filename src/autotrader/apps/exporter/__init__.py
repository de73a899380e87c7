"""The exporter: what is read from stores rather than counted in a process, as one page for Prometheus."""
