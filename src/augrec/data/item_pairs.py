"""Which items go together in users' profiles: what real users have, users drawn by popularity lack,
and a generator has to learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from augrec.data.popularity_sampling import draw_distinct

_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class ItemPairs:
    """The correlations of all pairs of the most popular items among real users.

    Attributes:
        profiles: 0/1 (n, n_items), of the real users.
        items: positions of the most popular items, int (k,), most popular first.
        correlations: Pearson, float64 (k (k - 1) / 2,); 0 where an item does not vary.
    """

    profiles: sp.csr_matrix
    items: np.ndarray
    correlations: np.ndarray

    @classmethod
    def of(cls, profiles: sp.csr_matrix, top_items: int) -> ItemPairs:
        """The pairs of the `top_items` items that most users have."""
        counts = np.asarray(profiles.sum(axis=0)).ravel()
        items = np.argsort(-counts, kind="stable")[:top_items]
        return cls(profiles, items, _of_columns(profiles[:, items]))

    def likeness(self, profiles: sp.csr_matrix) -> float | None:
        """Pearson correlation, over pairs of items, with the correlations among other users; None
        where nothing varies.

        Args:
            profiles: 0/1 (m, n_items).
        """
        return correlation(self.correlations, _of_columns(profiles[:, self.items]))

    def resampled(self, n: int, random: np.random.Generator) -> sp.csr_matrix:
        """Profiles of n real users, drawn with replacement: 0/1 (n, n_items)."""
        return self.profiles[random.integers(0, self.profiles.shape[0], n)]

    def independent(self, lengths: np.ndarray, random: np.random.Generator) -> sp.csr_matrix:
        """Profiles of users with items drawn by popularity alone: 0/1 (n, n_items).

        Args:
            lengths: int (n,), items of each user.
            random: where the draw comes from.
        """
        popularity = np.asarray(self.profiles.sum(axis=0), np.float64).ravel()
        met = np.flatnonzero(popularity)
        lengths = np.minimum(lengths.astype(np.int64), len(met))
        items = met[draw_distinct(lengths, popularity[met], random)]
        return profile_matrix(items, lengths, len(popularity))


def shortened(
    profiles: sp.csr_matrix, lengths: np.ndarray, random: np.random.Generator
) -> sp.csr_matrix:
    """The profiles without some of their items, at random, so that the longest has at most the
    largest of other lengths, the second longest the second largest, and so on.

    Args:
        profiles: 0/1 (n, n_items).
        lengths: int (n,).
        random: where the draw comes from.
    """
    own = np.diff(profiles.indptr)
    most = np.empty(len(own), np.int64)
    most[np.argsort(own, kind="stable")] = np.sort(lengths)
    kept = np.minimum(own, most)
    user = np.repeat(np.arange(len(own)), own)
    order = np.lexsort((random.random(len(user)), user))
    place = np.arange(len(user)) - profiles.indptr[user]
    return profile_matrix(profiles.indices[order[place < kept[user]]], kept, profiles.shape[1])


def profile_matrix(positions: np.ndarray, lengths: np.ndarray, n_items: int) -> sp.csr_matrix:
    """Users' profiles as a matrix, 0/1 float32 (n, n_items).

    Args:
        positions: int (sum of lengths,), items of one user after the other.
        lengths: int (n,), distinct items of each user.
        n_items: size of the catalogue.
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    ones = np.ones(len(positions), np.float32)
    return sp.csr_matrix((ones, positions, ends), (len(lengths), n_items))


def standardised(columns: sp.csr_matrix) -> np.ndarray:
    """The columns, dense float64, with mean 0 and length 1, so that products are correlations; 0
    where one does not vary."""
    dense = columns.toarray().astype(np.float64)
    dense -= dense.mean(axis=0)
    norms = np.sqrt((dense**2).sum(axis=0))
    return dense / np.where(norms > 0, norms, 1.0)


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Pearson correlation of two arrays; None where one of them does not vary."""
    if len(one) < 2 or min(one.std(), other.std()) < _NO_SPREAD:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _of_columns(columns: sp.csr_matrix) -> np.ndarray:
    dense = standardised(columns)
    return (dense.T @ dense)[np.triu_indices(dense.shape[1], 1)]
