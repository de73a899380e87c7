"""Grafana's dashboards as code: what they show, and how Grafana writes it down."""
