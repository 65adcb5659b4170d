"""What asks for taste groups: popularity, generators, policies, evaluation."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from augrec.augmentation.base import Policy, PolicyInputs
from augrec.core.errors import ConfigError, InputError
from augrec.data.columns import INTERACTIONS, TIME
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.generators import base as generators
from augrec.recommenders._taste.tastes import TASTE_GROUP, Tastes
from augrec.recommenders.base import find, load
from augrec.stages import _tastes, planning, train_generator

HOME = Path(__file__).parents[2]
PARAMS = yaml.safe_load((HOME / "params.yaml").read_text())
ITEMS = [f"i{item:02}" for item in range(20)]


def rows(n_users: int, share_of_first: float = 0.5, origin: str = "real") -> pl.DataFrame:
    """Users of two tastes, six items each: even items and odd ones. The first share are of even
    ones."""
    random = np.random.default_rng(n_users)
    lists = []
    for user in range(n_users):
        odd = user >= share_of_first * n_users
        likes = np.where(np.arange(20) % 2 == odd, 1.0, 0.02)
        lists.append(random.choice(ITEMS, 6, replace=False, p=likes / likes.sum()).tolist())
    prefix = "u" if origin == "real" else f"synthetic:{origin}:"
    table = pl.DataFrame(
        {"user_id": [f"{prefix}{user:03}" for user in range(n_users)], "item_id": lists}
    ).explode("item_id")
    return (
        table.with_columns(
            event=pl.lit("view"),
            value=pl.lit(None),
            timestamp=pl.int_range(pl.len()).cast(pl.Datetime("us")).cast(TIME),
            origin=pl.lit(origin),
            weight=pl.lit(1.0),
        )
        .select(list(INTERACTIONS))
        .cast(dict(INTERACTIONS))
    )


REAL = rows(80)


@pytest.fixture(scope="module")
def tastes() -> Tastes:
    found = Tastes({"groups": 2, "width": 8, "steps": 150}, seed=2).fit(TrainingData(REAL))
    assert len(found.numbers) == 2
    return found


def label(tastes: Tastes, lists: pl.Series) -> list[str | None]:
    return tastes.labels(Histories.from_lists(lists, tastes.items))


def parity(items: Any) -> float:
    """The share of odd items."""
    return float(np.mean([int(str(item)[1:]) % 2 for item in np.ravel(items)]))


def histories(*lists: list[str]) -> pl.Series:
    return pl.Series(list(lists), dtype=pl.List(pl.String))


def test_popularity_by_taste_group_follows_the_history_and_says_whose_taste_it_is(
    tastes: Tastes, tmp_path: Path
) -> None:
    config = {"group_by": TASTE_GROUP, "group_shrinkage": 1.0}
    model = find("popularity")(config).fit(TrainingData(REAL, tastes=tastes))
    asked = histories(["i00", "i02"], ["i01", "i03"], [])
    items, _ = model.recommend(asked, 5)
    assert parity(items[0]) == 0 and parity(items[1]) == 1
    reasons = model.explain(asked[:2], items[:2])
    told = set(reasons.filter(pl.col("kind") == "attribute")["because"])
    assert told == set(tastes.groups.names.tolist())
    model.save(tmp_path / "model")
    again, _ = load(tmp_path / "model").recommend(asked, 5)
    np.testing.assert_array_equal(again, items)


def test_popularity_by_taste_group_needs_groups() -> None:
    with pytest.raises(InputError, match="no taste groups"):
        find("popularity")({"group_by": TASTE_GROUP}).fit(TrainingData(REAL))


def chosen(tastes: Tastes | None, sample: str, ratio: float = 0.3, **options: Any) -> pl.DataFrame:
    """The users that a mix adds: 24, or as many as `ratio` of 80."""
    made = rows(80, 0.75, "gan")
    inputs = PolicyInputs(REAL, lambda name: made, 10.0, tastes=tastes)
    mix = {"sample": sample, "ratio": ratio, "choose": [{"taste_groups": options}]}
    table = Policy("p", [{"mix": mix}], seed=1).apply(inputs)
    return table.filter(pl.col("origin") != "real")


def test_a_policy_takes_users_of_all_groups_alike_or_of_some(tastes: Tastes) -> None:
    assert parity(chosen(tastes, "gan")["item_id"]) == pytest.approx(0.5, abs=0.15)
    number = int(label(tastes, histories(["i01", "i03", "i05"]))[0] or -1)
    alone = chosen(tastes, "gan", 0.2, groups=[number])
    assert parity(alone["item_id"]) > 0.8


def test_a_placebo_is_chosen_in_the_same_way(tastes: Tastes) -> None:
    assert chosen(tastes, "popularity_random")["user_id"].n_unique() == 24


def test_a_policy_without_groups_or_of_unknown_ones_is_refused(tastes: Tastes) -> None:
    with pytest.raises(ConfigError, match="there are no groups"):
        chosen(None, "gan")
    with pytest.raises(ConfigError, match="there is no taste group 7"):
        chosen(tastes, "gan", groups=[7])


def test_cases_are_told_apart_by_the_taste_of_their_history(tastes: Tastes) -> None:
    cases = pl.DataFrame({"history": histories(["i00", "i02"], ["i01"], [])})
    found = _tastes.with_groups(cases, tastes)[TASTE_GROUP].to_list()
    assert found[0] != found[1] and found[2] is None
    assert {one.partition(": ")[0] for one in found[:2]} == {"0", "1"}
    assert _tastes.with_groups(cases, None).equals(cases)


def test_a_generator_that_learns_the_group_draws_users_of_it(
    tastes: Tastes, tmp_path: Path
) -> None:
    folder = tmp_path / "data/taste_groups"
    folder.mkdir(parents=True)
    data = TrainingData(REAL)
    labels = pl.Series(TASTE_GROUP, tastes.labels(data.histories))
    told = pl.DataFrame({"user_id": data.histories.users.tolist()}).with_columns(labels)
    told.write_parquet(folder / "attributes.parquet")
    with contextlib.chdir(tmp_path):
        users = train_generator._with_groups(pl.DataFrame({"user_id": ["u001"], "age": [30]}))
        assert users is not None and users[TASTE_GROUP].to_list() == labels[1:2].to_list()
        users = train_generator._with_groups(None)
    model = generators.find("profile_vae")({"steps": 600}, seed=1)
    model.fit(TrainingData(REAL, users=users))
    odd = label(tastes, histories(["i01", "i03", "i05"]))[0]
    drawn = model.sample(60, condition={TASTE_GROUP: odd}, seed=1)
    assert parity(drawn["item_id"]) > 0.8


def say(**changed: Any) -> dict[str, Any]:
    run = PARAMS["run"] | {
        "generators": ["profile_gan"],
        "policies": ["none"],
        "recommenders": ["popularity"],
    }
    return PARAMS | {"run": run} | changed


def test_what_asks_for_groups_that_no_run_makes_is_refused_before_it_begins() -> None:
    asking = {"popularity": {"group_by": TASTE_GROUP}}
    planning.resolve(say(recommenders=asking))
    with pytest.raises(ConfigError, match="the run makes no taste groups"):
        planning.resolve(say(recommenders=asking, taste_groups={"groups": 0}))
    synthesis = PARAMS["synthesis"] | {"condition": {"profile_gan": {TASTE_GROUP: "3"}}}
    with pytest.raises(ConfigError, match="of which it learns nothing"):
        planning.resolve(say(synthesis=synthesis))
    planning.resolve(say(synthesis=synthesis, taste_groups={"attribute": True}))
