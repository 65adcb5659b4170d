"""Recommenders: fit, recommend, save, load."""
