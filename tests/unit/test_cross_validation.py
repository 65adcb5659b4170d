"""Cross-validation: every user once, judged by a model that never saw them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augrec.data.clean import clean
from augrec.data.config import SplitConfig
from augrec.data.simulate import ShopConfig, simulate
from augrec.evaluation.bootstrap import paired_difference
from augrec.evaluation.cross_validation import cross_validate, summarise_folds
from augrec.recommenders.base import find
from augrec.recommenders.popularity import Popularity

CONFIG = SplitConfig(folds=4, fold_in=0.5)


@pytest.fixture(scope="module")
def interactions() -> pl.DataFrame:
    shop = simulate(ShopConfig(n_users=80, n_items=50, n_interactions=2000), seed=2)
    return clean(shop.interactions, {"view": None})


@pytest.fixture(scope="module")
def measured(interactions: pl.DataFrame) -> pl.DataFrame:
    return cross_validate(Popularity, interactions, CONFIG, seed=3, cutoffs=[5])


def test_every_user_with_enough_items_is_measured_in_one_fold(interactions, measured):
    moments = interactions.group_by("user_id").agg(n=pl.col("timestamp").n_unique())
    assert sorted(measured["user_id"]) == sorted(moments.filter(pl.col("n") >= 2)["user_id"])
    assert measured["fold"].unique().sort().to_list() == [0, 1, 2, 3]


def test_no_model_saw_the_users_it_is_judged_by(interactions):
    fitted: list[set[str]] = []

    class Watched(Popularity):
        def fit(self, data):
            fitted.append(set(data.interactions["user_id"]))
            return super().fit(data)

    found = cross_validate(Watched, interactions, CONFIG, seed=3, cutoffs=[5])
    for fold, seen in enumerate(fitted):
        assert not seen & set(found.filter(pl.col("fold") == fold)["user_id"])
    assert len(fitted) == 4


def test_fitting_gets_attributes_of_training_users_and_ranking_those_of_test_users(
    interactions,
):
    users = interactions.select("user_id").unique(maintain_order=True).with_columns(age=pl.lit(30))
    others: list[list[str]] = []

    class Watched(Popularity):
        def fit(self, data):
            given, training = data.users["user_id"], data.interactions["user_id"]
            others.append(sorted(set(given) - set(training)))
            return super().fit(data)

        def rank(self, histories, k, *, user_features=None, **how):
            assert user_features is not None and user_features["age"].to_list() == [30] * len(
                histories
            )
            return super().rank(histories, k, **how)

    cross_validate(Watched, interactions, CONFIG, seed=3, cutoffs=[5], users=users)
    assert others == [[]] * 4


def test_two_recommenders_get_the_same_cases_and_can_be_paired(interactions, measured):
    other = cross_validate(
        lambda: find("item_knn")(seed=1), interactions, CONFIG, seed=3, cutoffs=[5]
    )
    assert other.select("user_id", "slice", "fold").equals(
        measured.select("user_id", "slice", "fold")
    )
    found = paired_difference(other, measured, "ndcg@5", confidence=0.95, samples=100, seed=1)
    assert found.n_users == len(measured)


def test_the_summary_is_over_users_and_the_deviation_between_folds(measured):
    found = summarise_folds(measured)
    assert found["overall"]["ndcg@5"] == pytest.approx(measured["ndcg@5"].mean())
    by_fold = measured.group_by("fold").agg(pl.col("ndcg@5").mean()).sort("fold")["ndcg@5"]
    assert [fold["ndcg@5"] for fold in found["folds"]] == pytest.approx(by_fold.to_list())
    assert found["deviation"]["ndcg@5"] == pytest.approx(np.std(by_fold.to_numpy(), ddof=1))
