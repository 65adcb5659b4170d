"""Strategies: how the scores of a group's members become one list. One file is one strategy."""
