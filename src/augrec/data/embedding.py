"""Low-dimensional embeddings of user profiles by truncated SVD, for clustering and for telling real
from synthetic profiles."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from augrec.core.seeds import rng

_MAX_ROWS = 20_000


def basis(profiles: sp.csr_matrix, dimensions: int, seed: int) -> np.ndarray:
    """The first right singular vectors of the profiles, scaled to unit length.

    Args:
        profiles: 0/1 (n, n_items); at most 20 000 rows are used, a random sample if there are more.
        dimensions: the number of vectors; fewer are returned if there are too few rows or items.
        seed: for the sample of rows and the starting vector of the solver.

    Returns:
        float32 (n_items, d).
    """
    random = rng(seed, "basis")
    if profiles.shape[0] > _MAX_ROWS:
        profiles = profiles[np.sort(random.choice(profiles.shape[0], _MAX_ROWS, replace=False))]
    d = min(dimensions, min(profiles.shape) - 1)
    if d < 1:
        return np.zeros((profiles.shape[1], 1), np.float32)
    start = random.random(min(profiles.shape)) + 0.5
    _, sizes, directions = svds(unit(profiles).astype(np.float64), k=d, v0=start)
    return np.ascontiguousarray(directions[np.argsort(-sizes)].T, dtype=np.float32)


def unit(profiles: sp.csr_matrix) -> sp.csr_matrix:
    """Rows scaled to unit length, float32; empty rows stay empty."""
    lengths = np.sqrt(np.maximum(profiles.multiply(profiles).sum(axis=1), 1e-12))
    return sp.csr_matrix(sp.diags_array(1.0 / np.asarray(lengths).ravel()) @ profiles).astype(
        np.float32
    )
