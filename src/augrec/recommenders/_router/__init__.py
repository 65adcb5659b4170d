"""The parts of the recommender `router`."""
