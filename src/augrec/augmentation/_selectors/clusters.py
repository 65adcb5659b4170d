"""Balances clusters of users."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field
from scipy.cluster.vq import kmeans2, vq

from augrec.augmentation._selectors.base import Pool, Selector
from augrec.core.config import BaseConfig
from augrec.core.seeds import derive, rng
from augrec.data.embedding import basis, unit

_MAX_USERS = 20_000
_SWEEPS = 30


class ClustersConfig(BaseConfig):
    """Size of the clustering, and the wanted shares."""

    clusters: int = Field(16, ge=2)
    """Of real users, by k-means."""
    dimensions: int = Field(16, ge=1)
    """Of the space in which they are found."""
    towards: Literal["even", "real"] = "even"
    """even: every cluster as likely as another; real: each as large as it is among real users."""


class Clusters(Selector):
    """Balances clusters: k-means of real profiles in the space of their singular vectors, then each
    cluster by its share."""

    Config = ClustersConfig

    def values(self, pool: Pool) -> np.ndarray:
        """Wanted share of the user's cluster over its share of the pool."""
        config, real, made = self.config, pool.real_profiles, pool.profiles
        directions = basis(real, config.dimensions, derive(self.seed, "space"))
        places = unit(real) @ directions  # (n_real, d)
        some = rng(self.seed, "users").permutation(len(places))[:_MAX_USERS]
        k = min(config.clusters, len(places))
        centres, _ = kmeans2(
            places[some].astype(np.float64),
            k,
            _SWEEPS,
            minit="++",
            missing="warn",
            rng=rng(self.seed, "centres"),
        )
        mine, _ = vq((unit(made) @ directions).astype(np.float64), centres)
        have = np.bincount(mine, minlength=k)
        wanted = np.ones(k)
        if config.towards == "real":
            wanted = np.bincount(vq(places.astype(np.float64), centres)[0], minlength=k).astype(
                np.float64
            )
        return (wanted / np.maximum(have, 1))[mine]
