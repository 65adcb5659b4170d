"""Is the sample like the data? Fidelity is not utility: only the gate decides whether a sample
helps."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy import stats

from augrec.core.seeds import rng
from augrec.data.item_pairs import ItemPairs, correlation

_SHUFFLES = 50


def fidelity(
    real: sp.csr_matrix, synthetic: sp.csr_matrix, top_items: int
) -> dict[str, float | None]:
    """Measures on profiles, 0/1 (n_users, n_items) of the same items.

    popularity_correlation: Pearson, of the shares of users who have an item.
    popularity_rank_correlation: Spearman. length_ks: largest gap between the distributions of
    profile lengths. length_distance: their Wasserstein distance, in mean real lengths.
    pair_correlation: Pearson, between real and synthetic, of the correlations of all pairs of the
    most popular items; about 0 where items are drawn independently.
    """
    shares = [np.asarray(table.mean(axis=0)).ravel() for table in (real, synthetic)]
    lengths = [np.diff(table.indptr) for table in (real, synthetic)]
    return {
        "popularity_correlation": correlation(*shares),
        "popularity_rank_correlation": correlation(*(stats.rankdata(part) for part in shares)),
        "length_ks": float(stats.ks_2samp(*lengths, method="asymp").statistic),
        "length_distance": float(
            stats.wasserstein_distance(*lengths) / max(lengths[0].mean(), 1e-12)
        ),
        "pair_correlation": ItemPairs.of(real, top_items).likeness(synthetic),
    }


def cluster_fidelity(real: np.ndarray, synthetic: np.ndarray, seed: int) -> dict[str, float]:
    """Are the clusters of users, found in both together, as frequent among synthetic users as among
    real ones?

    cluster_distance: total variation distance of the shares of clusters, in [0, 1] (0: every
    cluster is as frequent; the idea of the log-cluster measure, Goncalves et al. 2020).
    cluster_distance_chance: its mean over 50 random assignments of the labels "real" and
    "synthetic".

    Args:
        real, synthetic: the cluster of each user, int (n,) and (m,).
        seed: of the assignments.
    """
    labels, k = np.concatenate([real, synthetic]), int(max(real.max(), synthetic.max())) + 1
    random = rng(seed, "deals")

    def distance(order: np.ndarray) -> float:
        parts = (order[: len(real)], order[len(real) :])
        shares = [np.bincount(part, minlength=k) / len(part) for part in parts]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)

    dealt = [distance(random.permutation(labels)) for _ in range(_SHUFFLES)]
    return {"cluster_distance": distance(labels), "cluster_distance_chance": float(np.mean(dealt))}
