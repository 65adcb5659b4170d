"""The parts of the generators `latent_gan` and `item_gan`."""
