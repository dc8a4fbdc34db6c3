"""Metrics from any server that speaks Prometheus' HTTP API."""
