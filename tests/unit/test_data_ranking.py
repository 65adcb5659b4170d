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


def plain_top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("n", [479, 480, 5001])
@pytest.mark.parametrize(
    "kind",
    ["all differ", "many ties", "nearly all tied", "nearly all empty", "sorted", "repeating"],
)
def test_top_k_of_long_rows_is_a_stable_sort(kind, n, k):
    """Rows so long that candidates are looked for first; ties at the edge and clusters of large
    scores among them."""
    random = np.random.default_rng(n + k)
    scores = random.random((12, n), dtype=np.float32)
    if kind == "many ties":
        scores = np.round(scores, 2)
    elif kind == "nearly all tied":
        scores = np.where(scores < 0.99, np.float32(0.5), scores)
    elif kind == "nearly all empty":
        scores = np.where(scores < 0.995, np.float32(-np.inf), scores)
    elif kind == "sorted":
        scores = -np.sort(-scores, axis=1)
    elif (
        kind == "repeating"
    ):  # the best stand at equal distances, so that folding throws them together
        scores[:, :: max(1, n // (8 * k))] += 1
    positions, values = top_k(scores, k)
    expected = plain_top_k(scores, k)
    assert positions.dtype == np.int64 and values.dtype == np.float32
    assert np.array_equal(positions, expected[0]) and np.array_equal(values, expected[1])


@pytest.mark.parametrize("k", [2, 3, 5])
def test_a_row_whose_best_stand_where_folding_hides_them_is_still_sorted_right(k):
    """4096 columns are folded to 16 or 32 cells; the largest 256 scores all fall into one of them,
    ties among them."""
    random = np.random.default_rng(k)
    scores = random.random((3, 4096), dtype=np.float32)
    scores[1:, ::16] += np.round(random.random((2, 256), dtype=np.float32), 1) + 1
    positions, values = top_k(scores, k)
    expected = plain_top_k(scores, k)
    assert np.array_equal(positions, expected[0]) and np.array_equal(values, expected[1])


def test_a_row_with_few_candidates_next_to_one_with_many_has_no_position_twice():
    scores = np.full((2, 64), -np.inf, np.float32)
    scores[0, 0], scores[1] = 1, np.random.default_rng(0).random(64)
    scores[1, ::8] += 1  # folded upon one another: all of them become candidates
    positions, values = top_k(scores, 2)
    expected = plain_top_k(scores, 2)
    assert positions[0].tolist() == [0, 1]
    assert np.array_equal(positions, expected[0]) and np.array_equal(values, expected[1])


def test_zero_and_minus_zero_are_a_tie():
    assert top_k(np.array([[-1, -0.0, 0, -0.0]], np.float32), 3)[0].tolist() == [[1, 2, 3]]


def test_top_k_of_equal_scores_takes_the_first_positions():
    positions, _ = top_k(np.zeros((3, 7), np.float32), 4)
    assert positions.tolist() == [[0, 1, 2, 3]] * 3


def test_top_k_of_no_users_is_empty():
    positions, values = top_k(np.empty((0, 7), np.float32), 4)
    assert positions.shape == values.shape == (0, 4)


def test_hits_are_the_wanted_items_and_empty_places_never_hit():
    index = ItemIndex(["a", "b", "c", "d"])
    wanted = Histories.from_lists(
        pl.Series([["d", "x"], [], ["a", "d"]], dtype=pl.List(pl.String)), index
    )
    ranked = np.array([[3, 0, -1], [0, 1, 2], [-1, 3, 0]])
    assert hits(ranked, wanted).tolist() == [[True, False, False], [False] * 3, [False, True, True]]
