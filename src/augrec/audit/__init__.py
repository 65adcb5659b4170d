"""What is wrong with a synthetic sample, before anything may use it."""
