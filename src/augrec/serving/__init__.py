"""The HTTP service: recommendations from the registry, in real time."""
