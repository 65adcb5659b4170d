"""Torch code that generators and recommenders share."""
