"""Hyper-parameter search; the one room that imports Optuna."""
