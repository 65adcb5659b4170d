"""What generators of whole profiles share."""
