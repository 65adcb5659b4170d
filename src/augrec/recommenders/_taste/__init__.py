"""The parts of group_gan: features, taste groups, profiles, lists, live update."""
