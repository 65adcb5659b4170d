"""Metrics against scikit-learn, and against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, f1_score, ndcg_score

from augrec.core.errors import ConfigError, InputError
from augrec.data.ranking import LIST_METRICS, top_k
from augrec.data.training_data import TrainingData
from augrec.evaluation import metrics
from augrec.evaluation.metrics import evaluate, per_case, rank_cases
from augrec.evaluation.user_means import summarise, user_values
from augrec.recommenders.base import Recommender, find
from augrec.recommenders.popularity import Popularity

N_ITEMS = 12


def lists(values: list[list[str]]) -> pl.Series:
    return pl.Series(values, dtype=pl.List(pl.String))


def cases(
    targets: list[list[str]], seen: list[list[str]] | None = None, users: list[str] | None = None
) -> pl.DataFrame:
    n = len(targets)
    return pl.DataFrame(
        {
            "user_id": users or [f"u{row}" for row in range(n)],
            "slice": ["1-5"] * n,
            "history": lists(seen or [[] for _ in range(n)]),
            "targets": lists(targets),
        },
        schema_overrides={"user_id": pl.String, "slice": pl.String},
    )


def popularity_of(n_items: int = N_ITEMS) -> Recommender:
    """Recommends i00, i01, … to every user."""
    items = [f"i{item:02}" for item in range(n_items) for _ in range(n_items - item)]
    return Popularity().fit(
        TrainingData(
            pl.DataFrame({"user_id": [f"u{row}" for row in range(len(items))], "item_id": items})
        )
    )


@pytest.mark.parametrize("distinct", [2, 4, 1000])
@pytest.mark.parametrize("k", [1, 5, 12])
def test_ndcg_recall_precision_and_map_agree_with_scikit_learn(distinct, k):
    """Scores with many ties; our ranking breaks them by item id, scikit-learn is given the ranks
    that follow."""
    random = np.random.default_rng(distinct + k)
    n = 40
    wanted = random.random((n, N_ITEMS)) < 0.3
    wanted[:, 0] |= ~wanted.any(axis=1)
    ranked, _ = top_k(random.integers(0, distinct, (n, N_ITEMS)).astype(np.float32), N_ITEMS)
    found = per_case(
        ranked,
        cases([[f"i{item:02}" for item in np.flatnonzero(row)] for row in wanted]),
        popularity_of(),
        [k],
    )
    for row in range(n):
        relevance, places = wanted[row][ranked[row]].astype(float), -np.arange(N_ITEMS, dtype=float)
        ideal = min(k, int(relevance.sum()))
        hits = relevance[:k].sum()
        mean_precision = (
            average_precision_score(relevance[:k], places[:k]) * hits / ideal if hits else 0.0
        )
        first = np.flatnonzero(relevance[:k])
        expected = {
            "ndcg": ndcg_score([relevance], [places], k=k),
            "recall": hits / relevance.sum(),
            "precision": hits / k,
            "f1": f1_of(relevance, k),
            "hit_rate": float(hits > 0),
            "mrr": 1 / (first[0] + 1) if len(first) else 0.0,
            "map": mean_precision,
        }
        assert {name: found[f"{name}@{k}"][row] for name in LIST_METRICS} == pytest.approx(expected)


def f1_of(relevance: np.ndarray, k: int) -> float:
    """By scikit-learn, on lists at least as long as the cutoff."""
    taken = np.arange(N_ITEMS) < k
    return float(f1_score(relevance > 0, taken, zero_division=0))


def test_a_perfect_list_scores_one_in_everything():
    found = evaluate(popularity_of(), cases([["i00", "i01"]]), [2])
    assert set(found.row(0)[2:]) == {1.0}


def test_targets_the_model_does_not_know_are_misses():
    found = evaluate(popularity_of(), cases([["i00"], ["i00", "unheard of"], ["unheard of"]]), [10])
    assert found["recall@10"].to_list() == [1.0, 0.5, 0.0]
    assert found["ndcg@10"][0] == 1.0 > found["ndcg@10"][1] > found["ndcg@10"][2] == 0.0


def test_seen_items_make_room_for_others():
    found = evaluate(popularity_of(), cases([["i02"]], [["i00", "i01"]]), [1])
    assert found["hit_rate@1"].to_list() == [1.0]


def test_lists_shorter_than_the_cutoff_are_divided_by_the_cutoff():
    found = evaluate(popularity_of(3), cases([["i00", "i01", "i02"]]), [10])
    assert found["precision@10"].to_list() == [0.3]
    assert found["recall@10"].to_list() == found["ndcg@10"].to_list() == [1.0]


def test_the_batch_size_changes_nothing():
    random = np.random.default_rng(1)
    seen = [[f"i{item:02}" for item in random.permutation(N_ITEMS)[: row % 4]] for row in range(30)]
    wanted = [[f"i{item:02}" for item in random.permutation(N_ITEMS)[:3]] for _ in range(30)]
    rows = cases(wanted, seen)
    assert evaluate(popularity_of(), rows, [5], batch_size=1).equals(
        evaluate(popularity_of(), rows, [5], batch_size=100)
    )


def test_measuring_in_parts_changes_nothing(monkeypatch):
    random = np.random.default_rng(2)
    rows = cases([[f"i{item:02}" for item in random.permutation(N_ITEMS)[:3]] for _ in range(30)])
    recommender = popularity_of()
    ranked = rank_cases(recommender, rows, 5)
    whole = per_case(ranked, rows, recommender, [5])
    monkeypatch.setattr(metrics, "_CASES_AT_ONCE", 7)
    assert per_case(ranked, rows, recommender, [5]).equals(whole)


def test_no_case_gives_an_empty_table_with_all_columns():
    found = evaluate(popularity_of(), cases([]), [5])
    assert found.shape == (0, 2 + len(LIST_METRICS))
    assert summarise(found)["overall"] == {
        "n_users": 0,
        **{f"{name}@5": None for name in LIST_METRICS},
    }


@pytest.mark.parametrize("cutoffs", [[], [0], [-1, 5]])
def test_impossible_cutoffs_are_refused(cutoffs):
    with pytest.raises(ConfigError, match="cutoffs"):
        evaluate(popularity_of(), cases([["i00"]]), cutoffs)


def test_cases_without_targets_column_are_refused():
    with pytest.raises(InputError, match="targets"):
        evaluate(popularity_of(), cases([["i00"]]).drop("targets"), [5])


def test_a_user_with_many_cases_counts_once_overall():
    rows = cases([["i00"], ["unheard of"], ["i00"]], users=["a", "a", "b"])
    rows = rows.with_columns(pl.Series("slice", ["0", "1-5", "0"]))
    found = summarise(evaluate(popularity_of(), rows, [1]))
    assert found["overall"]["n_users"] == 2
    assert found["overall"]["recall@1"] == 0.75
    assert found["slices"]["0"] | {"n_users": 2, "recall@1": 1.0} == found["slices"]["0"]
    assert found["slices"]["1-5"] | {"n_users": 1, "recall@1": 0.0} == found["slices"]["1-5"]
    assert list(found["slices"]) == ["0", "1-5"]


def test_cases_without_a_value_take_no_part_in_a_mean():
    measured = pl.DataFrame(
        {
            "user_id": ["a", "a", "b", "c"],
            "slice": ["0", "1-5", "0", "0"],
            "recall_tail@5": [1.0, None, None, 0.5],
        }
    )
    found = summarise(measured)
    assert found["overall"] == {"n_users": 3, "recall_tail@5": 0.75}
    assert found["slices"]["1-5"] == {"n_users": 1, "recall_tail@5": None}
    assert user_values(measured, "recall_tail@5").rows() == [("a", 1.0), ("c", 0.5)]


def test_user_values_are_means_over_a_users_cases():
    rows = cases([["i00"], ["unheard of"], ["i00"]], users=["b", "b", "a"])
    found = user_values(evaluate(popularity_of(), rows, [1]), "recall@1")
    assert found.rows() == [("a", 1.0), ("b", 0.5)]
    with pytest.raises(ConfigError, match="recall@7"):
        user_values(evaluate(popularity_of(), rows, [1]), "recall@7")


def test_ranking_cases_and_recommending_are_the_same():
    recommender = find("ease")().fit(
        TrainingData(
            pl.DataFrame(
                {
                    "user_id": ["a", "a", "b", "b", "c"],
                    "item_id": ["i00", "i01", "i01", "i02", "i03"],
                }
            )
        )
    )
    rows = cases([["i01"], ["i02"]], [["i00"], ["i01", "i03"]])
    items, _ = recommender.recommend(rows["history"], 3)
    ranked = rank_cases(recommender, rows, 3)
    assert np.where(ranked < 0, "", recommender.items.ids[ranked]).tolist() == items.tolist()
