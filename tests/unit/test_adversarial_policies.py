"""Policies that add what a model is worst at, and their placebos."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from test_policy_search import GOOD, search
from test_policy_selectors import BLUE, REAL, RED, made, some

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.augmentation.search import Search
from augrec.core.errors import ConfigError
from augrec.data.histories import Histories

ATTACKED = {"multvae": {"steps": 100}}


def inputs(**samples: pl.DataFrame) -> PolicyInputs:
    return PolicyInputs(REAL, samples.__getitem__, 10.0)


def added(operation: str, seed: int = 3, **options: Any) -> pl.DataFrame:
    samples = {"gan": options.pop("gan")} if "gan" in options else {}
    rows = Policy("p", [{operation: options}], seed=seed).apply(inputs(**samples))
    return rows.filter(pl.col("origin") != "real")


def moved(direction: str, epsilon: float) -> pl.DataFrame:
    return added(
        "adversarial_users", direction=direction, epsilon=epsilon, recommender=ATTACKED, ratio=1.0
    )


@pytest.mark.parametrize("direction", ["loss", "random"])
def test_a_moved_user_reads_other_items_and_predicts_all_its_own(direction):
    real = {tuple(sorted(items)) for items in REAL.group_by("user_id").agg("item_id")["item_id"]}
    users = moved(direction, 0.3).group_by("user_id").agg("item_id", "weight", "observed")
    for _, items, weights, read in users.iter_rows():
        own = [item for item, weight in zip(items, weights, strict=True) if weight == 1]
        hidden = sum(not seen for seen in read)
        assert tuple(sorted(own)) in real
        assert hidden == sum(weight < 1 for weight in weights) == round(0.3 * len(own))


def loss(rows: pl.DataFrame) -> float:
    """Of the model that is attacked: how unlikely it finds users' own items."""
    inside = inputs()
    Policy("p", [{"adversarial_users": {"recommender": ATTACKED}}], seed=3).apply(inside)
    [model] = inside.trained.values()
    histories = Histories.from_interactions(rows, model.items)
    scores = model.score(histories.keep(histories.observed))
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    own = histories.keep(histories.weights == 1).matrix().toarray() > 0
    return -float((logs * own).sum(1).mean())


def test_moves_against_the_loss_raise_it_more_than_random_ones_of_the_same_length():
    against, anywhere = (loss(moved(direction, 0.3)) for direction in ("loss", "random"))
    assert loss(REAL) < anywhere < against


def test_only_the_placebo_counts_as_one():
    for step, kind in (
        ({"adversarial_users": {}}, "generated"),
        ({"adversarial_users": {"direction": "random"}}, "placebo"),
        ({"adversarial_items": {"sample": "gan"}}, "generated"),
        ({"adversarial_items": {"sample": "gan", "items": "random"}}, "placebo"),
    ):
        [(name, options)] = step.items()
        mixed = {"mix": {"sample": name, "options": {name: options}}}
        assert Policy("p", [step], seed=0).kind == Policy("p", [mixed], seed=0).kind == kind


def test_a_model_that_is_no_function_of_profiles_cannot_be_attacked_by_moves():
    with pytest.raises(ConfigError, match="item_knn does not say"):
        added("adversarial_users", recommender={"item_knn": {}})


MISTAKEN = made([[*reds, BLUE[place % 20]] for place, reds in enumerate(some(RED, 60, 9, 4))])
"""Users of one taste, and an item of the other."""


def test_items_to_predict_are_those_that_the_model_ranks_lowest():
    new = added("adversarial_items", sample="gan", ratio=0.5, gan=MISTAKEN, share=0.1)
    asked = new.filter(~pl.col("observed"))
    assert len(asked) == new["user_id"].n_unique() == 60
    assert asked["item_id"].is_in(BLUE).mean() > 0.95
    assert set(asked["weight"]) == {1.0} and new.filter("observed")["weight"].max() < 0.1


def test_the_placebo_predicts_other_items_about_as_popular():
    options = {"sample": "gan", "ratio": 0.5, "gan": MISTAKEN, "share": 0.1}
    own, other = (
        added("adversarial_items", **options, items=items).filter(~pl.col("observed"))
        for items in ("mistaken", "random")
    )
    counts = dict(REAL.group_by("item_id").len().iter_rows())
    popularity = [np.mean([counts[item] for item in rows["item_id"]]) for rows in (own, other)]
    assert not own["item_id"].equals(other["item_id"])
    assert popularity[1] == pytest.approx(popularity[0], rel=0.25)


def test_a_user_with_a_single_item_is_added_as_it_is():
    new = added("adversarial_items", sample="gan", ratio=1 / 120, gan=made([RED[:1]]))
    assert new["observed"].to_list() == [True] and new["weight"].to_list() == [1.0]


def test_a_search_tries_options_and_trains_the_attacked_model_once():
    options = [{"adversarial_users": {"recommender": ATTACKED, "epsilon": e}} for e in (0.1, 0.4)]
    one = Search({"samples": ["adversarial_users", "gan"], "options": options}, seed=1)
    inside = inputs(gan=GOOD)
    rows = [
        Policy("p", one.step("adversarial_users", 1.0, 0.5, place), seed=2).apply(inside)
        for place in (0, 1)
    ]
    assert len(inside.trained) == 1 and not rows[0].equals(rows[1])
    assert one.step("gan", 1.0, 0.5, 0) == one.step("gan", 1.0, 0.5, 1)


def test_where_a_sample_is_blocked_the_search_leaves_out_what_uses_it():
    step = search(
        samples=["bootstrap", "adversarial_items"],
        options=[{"adversarial_items": {"sample": "gan"}}],
    )
    one = Policy("p", [step], seed=0).operations[0]
    assert isinstance(one, Search) and one.generators == ("gan",)
    assert one.choices(["gan"]) == ["bootstrap"]
    assert one.choices([]) == ["bootstrap", "adversarial_items"]


def test_options_of_what_is_not_mixed_are_refused():
    with pytest.raises(ConfigError, match="adversarial_users"):
        Policy("p", [{"mix": {"sample": "gan", "options": {"adversarial_users": {}}}}], seed=0)
