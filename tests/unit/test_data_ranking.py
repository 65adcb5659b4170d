"""`top_k` and `hits` against the plainest way to compute the same."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.data.histories import Histories, ItemIndex
from augrec.data.ranking import hits, top_k


@pytest.mark.parametrize("distinct", [2, 5, 1000])
@pytest.mark.parametrize("k", [1, 3, 19, 20])
def test_top_k_is_a_stable_sort(distinct, k):
    random = np.random.default_rng(distinct * 100 + k)
    scores = random.integers(0, distinct, (50, 20)).astype(np.float32)
    scores[random.random(scores.shape) < 0.3] = -np.inf
    positions, values = top_k(scores, k)
    for row in range(len(scores)):
        expected = sorted(range(20), key=lambda item: (-scores[row, item], item))[:k]
        assert positions[row].tolist() == expected
        assert values[row].tolist() == [scores[row, item] for item in expected]


def test_top_k_of_equal_scores_takes_the_first_positions():
    positions, _ = top_k(np.zeros((3, 7), np.float32), 4)
    assert positions.tolist() == [[0, 1, 2, 3]] * 3


def test_top_k_of_nobody_is_empty():
    positions, values = top_k(np.empty((0, 7), np.float32), 4)
    assert positions.shape == values.shape == (0, 4)


def test_hits_are_the_wanted_items_and_empty_places_never_hit():
    index = ItemIndex(["a", "b", "c", "d"])
    wanted = Histories.from_lists(pl.Series([["d", "x"], [], ["a", "d"]], dtype=pl.List(pl.String)), index)
    ranked = np.array([[3, 0, -1], [0, 1, 2], [-1, 3, 0]])
    assert hits(ranked, wanted).tolist() == [[True, False, False], [False] * 3, [False, True, True]]
