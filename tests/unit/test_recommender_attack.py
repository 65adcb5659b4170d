"""The membership attack on a recommender's scores, with planted truths."""

from __future__ import annotations

import numpy as np
import polars as pl

from augrec.audit.config import AuditConfig
from augrec.audit.recommender_attack import RecommenderAttack, attack_recommender
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import find

CONFIG = AuditConfig(bootstrap_samples=200)


def users(prefix: str, n: int, seed: int, n_items: int = 60) -> pl.DataFrame:
    """Users who take items by popularity alone: whatever a model knows of one of them beyond that,
    it has memorised."""
    draw = np.random.default_rng(seed)
    chances = 1 / np.arange(1, n_items + 1) ** 0.5
    rows = [
        (f"{prefix}{user:03}", f"i{item:02}")
        for user in range(n)
        for item in draw.choice(n_items, draw.integers(6, 14), False, chances / chances.sum())
    ]
    return pl.DataFrame(rows, ["user_id", "item_id"], orient="row")


MEMBERS, OTHERS = users("m", 80, 1), users("o", 80, 2)


def attacked(name: str, **config: float) -> RecommenderAttack | None:
    model = find(name)(config).fit(TrainingData(MEMBERS))
    return attack_recommender(model, MEMBERS, OTHERS, CONFIG, 0)


def test_a_model_that_memorised_its_users_gives_them_away():
    found = attacked("ease", l2=0.1, popularity_blend=0.0)
    assert found is not None
    assert found.low > 0.7
    assert 0.35 < found.control < 0.65


def test_users_are_no_more_disclosed_among_others_of_their_kind_than_by_chance():
    model = find("popularity")({}).fit(TrainingData(users("other", 2000, 5)))
    found = attack_recommender(model, MEMBERS, OTHERS, CONFIG, 0)
    assert found is not None
    assert found.low < 0.5 < found.high
    assert abs(found.auc - found.control) < 0.05


def test_a_stronger_penalty_gives_less_away():
    weak = attacked("ease", l2=0.1, popularity_blend=0.0)
    strong = attacked("ease", l2=1000.0, popularity_blend=0.0)
    assert weak is not None and strong is not None
    assert strong.auc < weak.auc - 0.1


def test_too_few_users_decide_nothing():
    model = find("popularity")({}).fit(TrainingData(MEMBERS))
    few = OTHERS.filter(pl.col("user_id") < "o005")
    assert attack_recommender(model, MEMBERS, few, CONFIG, 0) is None
    assert attack_recommender(model, MEMBERS, OTHERS.clear(), CONFIG, 0) is None
