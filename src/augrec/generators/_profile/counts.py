"""What a generator of profiles learns by counting: items, their popularity, conditions, details of
rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.row_details import RowDetails
from augrec.data.training_data import TrainingData
from augrec.generators._conditions import Conditions


@dataclass(frozen=True)
class Counts:
    """Counts of n training users; `matrix` and `vectors` are the users' own, for training alone and
    never stored.

    Attributes:
        items: the catalogue.
        shares: float64 (n_items,), how likely each item is in a profile; all above 0.
        conditions: lengths and attributes that a synthetic user can be asked to have.
        details: events, values and times to draw from.
        matrix: 0/1 float32 (n, n_items), the users' profiles.
        vectors: float32 (n, conditions.width), the users' conditions.
    """

    items: ItemIndex
    shares: np.ndarray
    conditions: Conditions
    details: RowDetails
    matrix: sp.csr_matrix
    vectors: np.ndarray

    @classmethod
    def of(cls, data: TrainingData, max_attribute_values: int = 32) -> Counts:
        """Count exactly; `augrec.generators._privacy.counts` counts with differential privacy.

        Args:
            data: interactions, and users where there are attributes.
            max_attribute_values: attributes with more different values are left out; numbers are
                cut at their quartiles instead.
        """
        items = ItemIndex(data.interactions[C.ITEM])
        histories = Histories.from_interactions(data.interactions, items)
        matrix = profiles(histories)
        conditions = Conditions.of(
            histories.users, np.diff(matrix.indptr), data.users, max_attribute_values
        )
        shares = (np.asarray(matrix.sum(axis=0), np.float64).ravel() + 0.5) / (len(histories) + 1.0)
        details = RowDetails.of(data.interactions, items)
        vectors = conditions.vectors(np.arange(len(histories)))
        return cls(items, shares, conditions, details, matrix, vectors)


def profiles(histories: Histories) -> sp.csr_matrix:
    """0/1 float32 (n, n_items)."""
    matrix = histories.matrix()
    matrix.data[:] = 1.0
    return matrix
