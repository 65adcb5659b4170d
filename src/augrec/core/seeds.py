"""Every random draw comes from the one seed in params.yaml. Each part derives its own seed by name,
so that a change to one part does not change the draws of another."""

from __future__ import annotations

import zlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**63) for one named part: the same seed and names always give the same
    number."""
    words = [seed, *(zlib.crc32(str(name).encode()) for name in names)]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one named part."""
    return np.random.default_rng(derive(seed, *names))
