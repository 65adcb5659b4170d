"""Policies: named ways to build a training set from real and synthetic interactions."""
