"""Novelty, popularity, diversity, serendipity and whose targets are found: against loops over users
and pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from augrec.data.histories import Histories, ItemIndex
from augrec.data.ranking import hits
from augrec.evaluation.beyond_accuracy import beyond_accuracy
from augrec.evaluation.item_statistics import ITEM_GROUPS, ItemStatistics

N_ITEMS, N_CASES, K = 14, 60, 5
CATEGORIES = [["x"], ["x", "y"], ["y"], ["z"], ["x", "z"], None, ["y"]] * 2


@pytest.fixture(scope="module")
def given() -> dict:
    """Random lists, some of them short; item 13 was never met, and some targets are not in the
    catalogue."""
    random = np.random.default_rng(7)
    ids = [f"i{item:02}" for item in range(N_ITEMS)]
    rows = [(f"u{user}", ids[item]) for item in range(13) for user in range(20 - (item * 7) % 13)]
    train = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    table = pl.DataFrame(
        {"item_id": ids, "categories": CATEGORIES},
        schema={"item_id": pl.String, "categories": pl.List(pl.String)},
    )
    statistics = ItemStatistics.of(ItemIndex(ids), train, table)
    ranked, history, targets = np.full((N_CASES, 8), -1), [], []
    for case in range(N_CASES):
        order = random.permutation(N_ITEMS)
        met = order[: random.integers(0, 4)]
        shown = order[4 : 4 + random.integers(0, 9)]
        ranked[case, : len(shown)] = shown
        wanted = [ids[item] for item in order[4:] if random.random() < 0.4]
        history.append([ids[item] for item in met])
        targets.append([*wanted, *(["unheard of"] * (case % 3 == 0))] or ["unheard of"])
    kind = pl.List(pl.String)
    return {
        "ranked": ranked,
        "history": pl.Series(history, dtype=kind),
        "targets": pl.Series(targets, dtype=kind),
        "statistics": statistics,
        "ids": ids,
    }


@pytest.fixture(scope="module")
def found(given: dict) -> dict[str, np.ndarray]:
    return measure(given)


def measure(given: dict, **changes) -> dict[str, np.ndarray]:
    parts = given | changes
    wanted = Histories.from_lists(parts["targets"], parts["statistics"].items)
    hit = hits(parts["ranked"], wanted)
    return beyond_accuracy(
        parts["ranked"], hit, parts["history"], parts["targets"], parts["statistics"], [K, 8]
    )


def shown(given: dict, case: int) -> list[int]:
    return [item for item in given["ranked"][case, :K] if item >= 0]


def known(given: dict, case: int, name: str) -> list[int]:
    return [given["ids"].index(item) for item in given[name][case] if item in given["ids"]]


def test_every_metric_is_there_at_every_cutoff(found: dict[str, np.ndarray]):
    names = ["novelty", "popularity", "popularity_lift", "diversity", "serendipity"]
    names += [f"recall_{group}" for group in ITEM_GROUPS]
    assert set(found) == {f"{name}@{k}" for name in names for k in (K, 8)}


def test_novelty_and_popularity_are_means_over_the_list(given, found):
    counts = given["statistics"].interactions
    for case in range(N_CASES):
        items = shown(given, case)
        bits = [-np.log2(max(counts[item], 0.5) / counts.sum()) for item in items]
        assert found[f"novelty@{K}"][case] == pytest.approx(
            np.mean(bits) if items else np.nan, nan_ok=True
        )
        relative = counts / counts[counts > 0].mean()
        expected = relative[items].mean() if items else np.nan
        assert found[f"popularity@{K}"][case] == pytest.approx(expected, nan_ok=True)
        met = known(given, case, "history")
        before = relative[met].mean() if met else 0.0
        lift = expected / before - 1 if before > 0 else np.nan
        assert found[f"popularity_lift@{K}"][case] == pytest.approx(lift, nan_ok=True)


def test_diversity_is_one_minus_the_mean_cosine_of_all_pairs_by_scikit_learn(given, found):
    flags = np.array([[name in (have or []) for name in "xyz"] for have in CATEGORIES], float)
    alike = cosine_similarity(flags)
    for case in range(N_CASES):
        pairs = list(combinations([item for item in shown(given, case) if flags[item].any()], 2))
        expected = 1 - np.mean([alike[pair] for pair in pairs]) if pairs else np.nan
        assert found[f"diversity@{K}"][case] == pytest.approx(expected, nan_ok=True)


def test_serendipity_counts_hits_that_the_most_popular_items_would_not_have_been(given, found):
    counts = given["statistics"].interactions
    order = sorted(range(N_ITEMS), key=lambda item: (-counts[item], item))
    for case in range(N_CASES):
        met = known(given, case, "history")
        obvious = [item for item in order if item not in met][:K]
        wanted = set(known(given, case, "targets"))
        surprises = [item for item in shown(given, case) if item in wanted and item not in obvious]
        assert found[f"serendipity@{K}"][case] == pytest.approx(len(surprises) / K)


def test_the_most_popular_list_is_never_serendipitous(given):
    order = np.argsort(-given["statistics"].interactions, kind="stable")
    ranked = np.full((N_CASES, 8), -1)
    for case in range(N_CASES):
        ranked[case] = [item for item in order if item not in known(given, case, "history")][:8]
    assert not measure(given, ranked=ranked)[f"serendipity@{K}"].any()


def test_recall_by_popularity_finds_the_targets_of_that_group(given, found):
    group = dict(zip(given["ids"], given["statistics"].group.tolist(), strict=True))
    for case in range(N_CASES):
        listed = {given["ids"][item] for item in shown(given, case)}
        for place, name in enumerate(ITEM_GROUPS):
            wanted = {item for item in given["targets"][case] if group.get(item, 3) == place}
            expected = len(wanted & listed) / len(wanted) if wanted else np.nan
            assert found[f"recall_{name}@{K}"][case] == pytest.approx(expected, nan_ok=True)


def test_a_catalogue_without_interactions_gives_values_and_no_error(given):
    empty = pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String})
    found = measure(given, statistics=ItemStatistics.of(ItemIndex(given["ids"]), empty))
    assert np.isnan(found[f"popularity_lift@{K}"]).all()
    assert not np.isinf(np.concatenate(list(found.values()))).any()
