"""The map's own EASE and item-KNN are the recommenders; its arms and comparisons are what they say
they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augrec.data.columns import Columns as C
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import find

pytest.importorskip("matplotlib")
HOME = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HOME)


def people():
    from benchmarks import _map_cells

    values = {**_map_cells.BASE, "users": 60, "items": 80}
    return _map_cells.draw(_map_cells.Cell("shop", "shop", 60, values), 0, {})


OTHERWISE = {
    "ease": {},
    "item_knn": {"similarity": "cosine", "nearest_to": "met", "neighbours": 50},
}


@pytest.mark.parametrize(
    ("name", "key", "grid"), [("ease", "l2", "L2"), ("item_knn", "shrinkage", "SHRINKAGE")]
)
def test_scores_are_those_of_the_recommender(name: str, key: str, grid: str) -> None:
    from benchmarks import _map_arms, _map_models

    found = people()
    made = _map_arms.arms(found.train, {}, seed=1)
    cases = _map_models.case_matrices(found.valid, made.items)
    scorers = _map_models.RECOMMENDERS[name](made.all[0].ways[0])
    for value, scorer in zip(getattr(_map_models, grid), scorers, strict=True):
        config = {key: value, "popularity_blend": 0.0, **OTHERWISE[name]}
        model = find(name)(config, seed=0).fit(TrainingData(found.train))
        ours = scorer(cases)
        ours[cases.history.nonzero()] = -np.inf
        best, _ = model.recommend(found.valid["history"], k=5)
        place = made.items.encode(pl.Series(best[:, 0]))
        at = np.arange(len(ours))
        np.testing.assert_allclose(ours[at, place], ours.max(1), rtol=1e-3)


def test_no_test_user_takes_part_in_training_or_in_a_choice() -> None:
    found = people()
    train, valid, test = (set(one[C.USER]) for one in (found.train, found.valid, found.test))
    assert not train & valid and not train & test and not valid & test


def test_a_planted_gain_is_seen_and_a_copy_has_none() -> None:
    from benchmarks import _map_tables

    users = [f"u{n}" for n in range(50)]
    base = np.random.default_rng(0).random(50)

    def rows(arm: str, kind: str, ndcg: np.ndarray) -> pl.DataFrame:
        named = {"recommender": "ease", "arm": arm, "kind": kind, "amount": 1}
        return pl.DataFrame({C.USER: users, "ndcg": ndcg}).with_columns(
            valid=pl.lit(float(ndcg.mean())), **{key: pl.lit(v) for key, v in named.items()}
        )

    gain = np.random.default_rng(1).normal(0.1, 0.02, 50)
    draw = pl.concat([rows("none", "real", base), rows("gan", "generated", base + gain)])
    cell = _map_tables.Measured("shop", [{"source": "shop"}] * 2, [draw, draw])
    ours, theirs = pl.col("kind") == "generated", pl.col("kind") == "real"
    assert cell.gain(ours, theirs).sign == 1
    assert cell.gain(theirs, ours).sign == -1
    assert cell.gain(ours, ours).sign == 0
    assert cell.gain(ours, theirs).mean == pytest.approx(gain.mean())


@pytest.mark.parametrize(("gain", "accepted"), [(0.1, True), (0.0, False)])
def test_what_is_said_beforehand_rests_on_the_rules_of_the_gate(
    gain: float, accepted: bool
) -> None:
    from benchmarks import _map_advice

    users, draw = [f"u{n}" for n in range(80)], np.random.default_rng(0)
    base = draw.random(80)

    def rows(recommender: str, arm: str, kind: str, more: float) -> pl.DataFrame:
        ndcg = base + draw.normal(more, 0.02, 80)
        named = {"recommender": recommender, "arm": arm, "kind": kind, "amount": 1, "valid": 0.5}
        return pl.DataFrame({C.USER: users, "ndcg": ndcg}).with_columns(
            **{key: pl.lit(value) for key, value in named.items()}
        )

    arms = [("none", "real", 0.0), ("noise", "placebo", 0.0), ("gan", "generated", gain)]
    ndcg = pl.concat([rows(name, *arm) for name in ("ease", "item_knn") for arm in arms])
    shape = {"n_users": 80, "n_items": 40, "n_interactions": 900}
    about = {"cell": "shop", "draw": 0, "source": "shop", "shape": shape}
    found = _map_advice.drawn(about, ndcg)
    assert (found.sample.accepted, found.placebo) == (accepted, False)
    behind = ndcg.with_columns(pl.col("ndcg") + 0.2 * (pl.col("kind") == "placebo"))
    assert not _map_advice.drawn(about, behind).sample.accepted, "a placebo has the gain too"


def test_a_shuffled_sample_keeps_lengths_and_popularity_and_no_more() -> None:
    from benchmarks import _map_arms, map_ablation

    from augrec.data.histories import ItemIndex

    rows = people().train
    sample = _map_arms.matrix(rows, ItemIndex(rows[C.ITEM]))
    shuffled = map_ablation.swapped(sample, seed=1)
    assert (shuffled.sum(0) == sample.sum(0)).all() and shuffled.max() == 1
    np.testing.assert_array_equal(shuffled.getnnz(1), sample.getnnz(1))
    assert shuffled.multiply(sample).nnz < 0.5 * sample.nnz


def test_films_of_two_data_sets_meet_by_title_and_year() -> None:
    from benchmarks.map_outside import title_key

    titles = ["Godfather, The", "The Godfather (1972)", "The Godfather (1990)"]
    films = pl.DataFrame({C.TITLE: titles, "release_year": ["1972", "1972", "1990"]})
    ours, same, other = films.select(title_key())["key"]
    assert ours == same != other
