"""Plots and the report a person reads."""
