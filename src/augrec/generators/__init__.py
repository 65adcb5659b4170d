"""Generators learn from real interactions and draw synthetic ones."""
