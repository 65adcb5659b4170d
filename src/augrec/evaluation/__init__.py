"""Metrics, significance and the gate."""
