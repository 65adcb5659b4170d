"""Popularity beside personal scores: relative to their size, fading with the history's length."""

import numpy as np
import polars as pl
import pytest

from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.recommenders._blend import add_popularity, relative_weight, sizes_of
from augrec.recommenders.base import find


def test_it_does_not_depend_on_the_units_of_the_scores():
    draw = np.random.default_rng(0)
    personal = draw.random((5, 40)).astype(np.float32)
    popularity, lengths = draw.random(40).astype(np.float32), np.arange(1, 6)

    def order(units: float) -> np.ndarray:
        scores = units * personal
        weights = relative_weight(sizes_of(scores), popularity, lengths, 2.0)
        add_popularity(scores, popularity, weights)
        return np.argsort(-scores, axis=1)

    assert (order(1.0) == order(1 / 512)).all()
    assert (order(1.0) != np.argsort(-personal, axis=1)).any()


def test_it_is_as_large_as_the_personal_scores_and_fades_with_the_history():
    popularity = np.array([1, 2, 3, 10], np.float32)
    weights = relative_weight(np.array([0.5, 0.5, 0.0]), popularity, np.array([1, 9, 3]), 2.0)
    added = np.zeros((3, 4), np.float32)
    add_popularity(added, popularity, weights)
    assert sizes_of(added) == pytest.approx([0.5, 0.1, 0.5 * sizes_of(popularity[None])[0] / 10])


@pytest.mark.parametrize("name", ["ease", "ials", "item_knn"])
def test_a_history_that_says_nothing_is_ranked_by_popularity(name):
    pairs = [(user, user % 3) for user in range(12)] + [(user, 3) for user in range(12, 40)]
    pairs += [(40, 4)]  # its only user met nothing else
    rows = pl.DataFrame(
        {"user_id": [f"u{user}" for user, _ in pairs], "item_id": [f"i{item}" for _, item in pairs]}
    )
    fitted = find(name)({"factors": 2} if name == "ials" else {}).fit(TrainingData(rows))
    history = pl.Series([["i4"]])
    assert fitted.recommend(history, 1)[0][0][0] == "i3"
    if name == "ials":
        encoded = Histories.from_lists(history, fitted.items)
        product = fitted.user_factors(encoded) @ fitted.item_factors().T
        assert product == pytest.approx(fitted.score(encoded), rel=1e-4, abs=1e-6)
