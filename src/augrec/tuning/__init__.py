"""Optuna: the search for a recommender's hyper-parameters, bounded in trials and time."""
