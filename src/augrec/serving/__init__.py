"""The HTTP service: recommendations in real time, from the models in the registry."""
