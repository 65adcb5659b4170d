"""What a profile generator knows by counting: items, their popularity, who the users are, details
of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.row_details import RowDetails
from augrec.generators._conditions import Conditions
from augrec.generators._training.lesson import Lesson


@dataclass(frozen=True)
class Counts:
    """Counted from n training users; `matrix` and `vectors` are their own, for training alone,
    never stored.

    Attributes:
        items: the catalogue.
        shares: float64 (n_items,), how likely each item is in a profile; all above 0.
        conditions: what a synthetic user can be asked to be.
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
    def of(cls, lesson: Lesson, max_attribute_values: int) -> Counts:
        """Count exactly; see `augrec.generators._privacy.counts` for counts that give nobody
        away."""
        items = ItemIndex(lesson.interactions[C.ITEM])
        histories = Histories.from_interactions(lesson.interactions, items)
        matrix = profiles(histories)
        conditions = Conditions.of(
            histories.users, np.diff(matrix.indptr), lesson.users, max_attribute_values
        )
        shares = (np.asarray(matrix.sum(axis=0), np.float64).ravel() + 0.5) / (len(histories) + 1.0)
        details = RowDetails.of(lesson.interactions, items)
        vectors = conditions.vectors(np.arange(len(histories)))
        return cls(items, shares, conditions, details, matrix, vectors)


def profiles(histories: Histories) -> sp.csr_matrix:
    """0/1 float32 (n, n_items)."""
    matrix = histories.matrix()
    matrix.data[:] = 1.0
    return matrix
