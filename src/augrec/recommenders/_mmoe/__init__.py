"""The parts of the multi-task recommender `mmoe`."""
