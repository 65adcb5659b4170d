"""Popularity and demographics: what is counted, for how long, and for whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augrec.core.errors import InputError
from augrec.data.columns import TIME
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import Recommender, find, load

DAY_US = 86_400_000_000


def rows(users: str, items: str, days: list[float] | None = None) -> pl.DataFrame:
    table = pl.DataFrame({"user_id": list(users), "item_id": list(items)})
    if days is None:
        return table
    times = (
        pl.Series("timestamp", [int(day * DAY_US) for day in days])
        .cast(pl.Datetime("us"))
        .cast(TIME)
    )
    return table.with_columns(times)


def ranking(fitted: Recommender, **known: object) -> list[str]:
    """All items for a user without a history of whom `known` is known."""
    asked = pl.Series([[]], dtype=pl.List(pl.String))
    table = pl.DataFrame({name: [value] for name, value in known.items()}) if known else None
    return fitted.recommend(asked, len(fitted.items), user_features=table)[0][0].tolist()


def scores(fitted: Recommender, **known: object) -> list[float]:
    """In the order of the items' ids."""
    asked = pl.Series([[]], dtype=pl.List(pl.String))
    table = pl.DataFrame({name: [value] for name, value in known.items()}) if known else None
    items, values = fitted.recommend(asked, len(fitted.items), user_features=table)
    return values[0, np.argsort(items[0])].tolist()


def test_only_the_window_before_the_newest_interaction_counts():
    table = rows("abcde", "xxxyz", [0, 1, 2, 8, 9])
    assert ranking(find("popularity")().fit(TrainingData(table))) == ["x", "y", "z"]
    assert scores(
        find("popularity")({"window_days": 7.5}).fit(TrainingData(table))
    ) == pytest.approx([1 / 3] * 3)
    assert scores(find("popularity")({"window_days": 7}).fit(TrainingData(table))) == pytest.approx(
        [0, 1 / 2, 1 / 2]
    )
    assert scores(find("popularity")({"window_days": 0.01}).fit(TrainingData(table))) == [0, 0, 1]


def test_a_window_and_a_half_life_go_together():
    fitted = find("popularity")({"window_days": 7.5, "half_life_days": 1}).fit(
        TrainingData(rows("abcde", "xxxyz", [0, 1, 2, 8, 9]))
    )
    assert scores(fitted) == pytest.approx(np.array([2**-7, 1 / 2, 1]) / (2**-7 + 1.5))


@pytest.mark.parametrize("config", [{"window_days": 3}, {"half_life_days": 3}])
def test_what_depends_on_time_needs_timestamps(config):
    with pytest.raises(InputError, match="timestamp"):
        find("popularity")(config).fit(TrainingData(rows("ab", "xy")))


GROUPED = rows("aabbccd", "xyxyzzx")
PEOPLE = pl.DataFrame(
    {"user_id": ["a", "b", "c"], "sex": ["f", "f", "m"], "age": ["30", "49", "50"]}
)


def by(attribute: str, **config: object) -> Recommender:
    return find("popularity")({"group_by": attribute, **config}).fit(
        TrainingData(GROUPED, users=PEOPLE)
    )


def test_a_group_gets_what_is_popular_in_it_shrunk_towards_the_whole():
    fitted = by("sex", group_shrinkage=2)
    assert scores(fitted, sex="m") == pytest.approx(
        [2 * 3 / 7 / 4, 2 * 2 / 7 / 4, (2 + 2 * 2 / 7) / 4]
    )
    assert scores(by("sex", group_shrinkage=0), sex="f") == pytest.approx([0.5, 0.5, 0])
    assert ranking(fitted, sex="m")[0] == "z"
    assert ranking(fitted, sex="f") == ["x", "y", "z"]


@pytest.mark.parametrize("known", [{}, {"sex": None}, {"sex": "x"}, {"sex": ""}, {"height": 2.0}])
def test_a_user_of_an_unknown_group_gets_what_is_popular_with_all(known):
    assert scores(by("sex"), **known) == pytest.approx([3 / 7, 2 / 7, 2 / 7])


@pytest.mark.parametrize(("age", "group"), [(20, "f"), ("49.9", "f"), (50, "m"), (99.5, "m")])
def test_numbers_are_grouped_by_brackets(age, group):
    expected = scores(by("sex", group_shrinkage=1), sex=group)
    assert scores(by("age", group_edges=[50], group_shrinkage=1), age=age) == expected


@pytest.mark.parametrize("age", [float("nan"), float("inf"), "old", None])
def test_what_is_no_number_is_in_no_bracket(age):
    assert scores(by("age", group_edges=[50]), age=age) == pytest.approx([3 / 7, 2 / 7, 2 / 7])


def test_small_groups_beyond_the_most_are_left_to_the_whole():
    fitted = by("sex", max_groups=1, group_shrinkage=0)
    assert scores(fitted, sex="f") == pytest.approx([0.5, 0.5, 0])
    assert scores(fitted, sex="m") == scores(fitted)


def test_the_group_decides_whatever_the_history_and_is_the_reason():
    fitted = by("sex", group_shrinkage=0)
    asked, known = pl.Series([["x"], ["x"]]), pl.DataFrame({"sex": ["m", None]})
    items, scores = fitted.recommend(asked, 1, user_features=known)
    assert items.tolist() == [["z"], ["y"]]
    why = fitted.explain(asked, items, user_features=known)
    of_m = why.filter(pl.col("row") == 0)
    assert dict(of_m.select("kind", "because").iter_rows()) == {
        "popularity": None,
        "attribute": "sex",
    }
    assert of_m["contribution"].sum() == pytest.approx(scores[0, 0])
    assert why.filter(pl.col("row") == 1)["kind"].to_list() == ["popularity"]


def test_where_no_group_is_known_all_get_the_same():
    unknown = PEOPLE.with_columns(sex=pl.lit(None, pl.String))
    fitted = find("popularity")({"group_by": "sex"}).fit(TrainingData(GROUPED, users=unknown))
    assert scores(fitted, sex="f") == scores(fitted) == pytest.approx([3 / 7, 2 / 7, 2 / 7])


@pytest.mark.parametrize(("users", "there"), [(None, "none"), (PEOPLE.drop("sex"), "age")])
def test_an_attribute_that_is_not_there_is_named(users, there):
    with pytest.raises(InputError, match=f"no attribute 'sex'; there are: {there}"):
        find("popularity")({"group_by": "sex"}).fit(TrainingData(GROUPED, users=users))


def test_an_attribute_that_is_a_list_is_refused():
    lists = PEOPLE.with_columns(sex=pl.concat_list("sex"))
    with pytest.raises(InputError, match="cannot group"):
        find("popularity")({"group_by": "sex"}).fit(TrainingData(GROUPED, users=lists))


def test_groups_survive_saving(tmp_path: Path):
    fitted = by("sex", group_shrinkage=3)
    fitted.save(tmp_path / "model")
    for known in ({"sex": "m"}, {"sex": "f"}, {}):
        assert scores(load(tmp_path / "model"), **known) == scores(fitted, **known)


def crowd(n_users: int = 400) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Users under 40 like even items, older ones odd items; their towns say nothing."""
    random = np.random.default_rng(0)
    ages = random.integers(20, 60, n_users)
    likes = np.where((np.arange(20) % 2 == 0) == (ages[:, None] < 40), 0.6, 0.2)
    users, items = np.nonzero(random.random((n_users, 20)) < likes)
    names = np.array([f"u{user:03}" for user in range(n_users)])
    interactions = pl.DataFrame(
        {"user_id": names[users], "item_id": [f"i{item:02}" for item in items]}
    )
    towns = random.choice(["a", "b", "c"], n_users)
    return interactions, pl.DataFrame({"user_id": names, "age": ages, "town": towns})


@pytest.fixture(scope="module")
def demographics() -> Recommender:
    interactions, users = crowd()
    return find("demographics")({"l2": 5}).fit(TrainingData(interactions, users=users))


def test_users_get_what_users_like_them_took(demographics):
    for age, parity in ((21, 0), (58, 1)):
        best = ranking(demographics, age=age, town="a")[:10]
        assert sum(int(item[1:]) % 2 == parity for item in best) >= 9


def test_the_scores_solve_the_ridge_regression_they_state():
    table = rows("aabbbc", "xyxyzz")
    users = pl.DataFrame({"user_id": ["a", "b", "c"], "sex": ["f", "f", "m"]})
    fitted = find("demographics")({"l2": 2, "min_users": 1}).fit(TrainingData(table, users=users))
    y = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]])
    z = np.array([[1, 0], [1, 0], [0, 1]]) - [2 / 3, 1 / 3]
    weights = np.linalg.solve(z.T @ z + 2 * np.eye(2), z.T @ (y - y.mean(0)))
    expected = y.sum(0) / 6 + z[2] @ weights / 2
    assert scores(fitted, sex="m") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "known", [{}, {"age": None, "town": None}, {"age": float("nan")}, {"user__clicks_7d": 3.0}]
)
def test_of_whom_nothing_is_known_gets_what_is_popular(demographics, known):
    assert scores(demographics, **known) == demographics.popularity.tolist()


def test_without_attributes_it_is_popularity():
    interactions, _ = crowd()
    plain = find("popularity")().fit(TrainingData(interactions))
    for users in (None, pl.DataFrame({"user_id": ["u001"]})):
        assert scores(
            find("demographics")().fit(TrainingData(interactions, users=users)), age=30
        ) == scores(plain)


def test_wanted_attributes_must_be_there():
    interactions, users = crowd()
    fitted = find("demographics")({"attributes": ["town"]}).fit(
        TrainingData(interactions, users=users)
    )
    assert scores(fitted, age=20) == scores(fitted)
    with pytest.raises(InputError, match="no attribute height; there are: age, town"):
        find("demographics")({"attributes": ["height"]}).fit(
            TrainingData(interactions, users=users)
        )


def test_demographics_survive_saving(demographics, tmp_path: Path):
    demographics.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    for known in ({"age": 33, "town": "b"}, {"age": 50}, {"town": "elsewhere"}):
        assert scores(loaded, **known) == scores(demographics, **known)
