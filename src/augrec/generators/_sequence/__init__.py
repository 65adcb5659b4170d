"""The parts of the generator `sequence_gan`."""
