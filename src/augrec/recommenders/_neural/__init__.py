"""What neural recommenders share."""
