"""Every metric of a ranking against scikit-learn: lists of any length, targets nobody knows, equal
scores.

scikit-learn ranks whole rows. So each case is written as one: the catalogue, then targets that the
model does not know, then as many stand-ins as the cutoff has places. An empty place of a list
recommends a stand-in, which nobody wants.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from augrec.data.ranking import LIST_METRICS, ndcg, top_k
from augrec.data.training_data import TrainingData
from augrec.evaluation.item_statistics import catalogue_metrics
from augrec.evaluation.metrics import per_case, rank_cases
from augrec.recommenders.base import Recommender
from augrec.recommenders.popularity import Popularity

N_ITEMS, N_UNKNOWN, N_CASES, LONGEST = 15, 2, 30, 8
CUTOFFS = [1, 3, 8, 20]
"""Some beyond the longest list, one beyond the catalogue."""


def model(counts: list[int]) -> Recommender:
    """Recommends i00, i01, … by these counts."""
    items = [f"i{item:02}" for item, n in enumerate(counts) for _ in range(n)]
    return Popularity().fit(
        TrainingData(
            pl.DataFrame({"user_id": [f"u{row}" for row in range(len(items))], "item_id": items})
        )
    )


@pytest.fixture(scope="module", params=range(2))
def given(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, LONGEST), -1 behind lists of 0 to LONGEST items; what was wanted, bool (n,
    N_ITEMS + N_UNKNOWN)."""
    random = np.random.default_rng(request.param)
    ranked = np.stack([random.permutation(N_ITEMS)[:LONGEST] for _ in range(N_CASES)])
    ranked[np.arange(LONGEST) >= random.integers(0, LONGEST + 1, N_CASES)[:, None]] = -1
    wanted = random.random((N_CASES, N_ITEMS + N_UNKNOWN)) < random.choice(
        [0.05, 0.3, 0.9], (N_CASES, 1)
    )
    wanted[np.arange(N_CASES), random.integers(0, N_ITEMS + N_UNKNOWN, N_CASES)] = True
    return ranked, wanted


@pytest.fixture(scope="module")
def found(given: tuple[np.ndarray, np.ndarray]) -> pl.DataFrame:
    ranked, wanted = given
    lists = [[f"i{item:02}" for item in np.flatnonzero(row)] for row in wanted]
    kind = pl.List(pl.String)
    cases = pl.DataFrame(
        {
            "user_id": [f"u{row}" for row in range(N_CASES)],
            "slice": "0",
            "history": [[]] * N_CASES,
            "targets": lists,
        },
        schema_overrides={"history": kind, "targets": kind},
    )
    return per_case(ranked, cases, model([1] * N_ITEMS), CUTOFFS)


def whole_row(
    ranked: np.ndarray, wanted: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was wanted, which are the k recommended, and scores in the order of the list, all others
    below; (width,)."""
    n = len(wanted)
    listed = np.concatenate([ranked, np.full(max(k - len(ranked), 0), -1)])[:k]
    listed = np.where(listed < 0, n + np.arange(k), listed)
    truth = np.concatenate([wanted, np.zeros(k, np.bool_)])
    scores = np.zeros(n + k)
    scores[listed] = 1 + np.arange(k, 0, -1)
    return truth, scores > 0, scores


@pytest.mark.parametrize("k", CUTOFFS)
def test_precision_recall_and_f1_are_those_of_the_listed_and_the_wanted(given, found, k):
    for row, case in enumerate(zip(*given, strict=True)):
        truth, listed, _ = whole_row(*case, k)
        expected = sk.precision_recall_fscore_support(
            truth, listed, average="binary", zero_division=0
        )[:3]
        told = found.select(f"precision@{k}", f"recall@{k}", f"f1@{k}").row(row)
        assert told == pytest.approx(expected)


@pytest.mark.parametrize("k", CUTOFFS)
def test_ndcg_is_that_of_the_list(given, found, k):
    for row, case in enumerate(zip(*given, strict=True)):
        truth, _, scores = whole_row(*case, k)
        assert found[f"ndcg@{k}"][row] == pytest.approx(
            sk.ndcg_score([truth.astype(float)], [scores], k=k)
        )


@pytest.mark.parametrize("k", CUTOFFS)
def test_map_is_the_average_precision_of_the_list_over_as_many_as_could_be_found(given, found, k):
    for row, case in enumerate(zip(*given, strict=True)):
        truth, listed, scores = whole_row(*case, k)
        hits = (truth & listed).sum()
        mean = sk.average_precision_score(truth[listed], scores[listed]) if hits else 0.0
        assert found[f"map@{k}"][row] == pytest.approx(mean * hits / min(k, truth.sum()))


@pytest.mark.parametrize("k", CUTOFFS)
def test_hit_rate_and_mrr_are_those_of_the_target_ranked_best(given, found, k):
    """A single target's reciprocal rank is its label ranking average precision; it is a hit if it
    is in the top k."""
    for row, case in enumerate(zip(*given, strict=True)):
        truth, listed, scores = whole_row(*case, k)
        targets = np.flatnonzero(truth)
        in_top = sk.top_k_accuracy_score(
            targets,
            np.tile(scores, (len(targets), 1)),
            k=k,
            labels=np.arange(len(truth)),
            normalize=False,
        )
        assert found[f"hit_rate@{k}"][row] == (in_top > 0)
        single = np.eye(len(truth), dtype=int)[targets[listed[targets]]]
        ranks = [sk.label_ranking_average_precision_score([one], [scores]) for one in single]
        assert found[f"mrr@{k}"][row] == pytest.approx(max(ranks, default=0.0))


def test_every_metric_is_held_against_scikit_learn_at_every_cutoff(found):
    assert set(found.columns[2:]) == {f"{name}@{k}" for name in LIST_METRICS for k in CUTOFFS}


@pytest.mark.parametrize("seed", range(5))
def test_over_all_ways_to_name_equal_items_the_gain_is_that_of_scikit_learn_with_ties(seed):
    """Ties go to the smaller position; scikit-learn takes the mean over all orders of tied
    items."""
    random = np.random.default_rng(seed)
    scores, wanted = random.integers(0, 2, 5).astype(np.float32), random.random(5) < 0.5
    wanted[random.integers(5)] = True
    orders = np.array(list(permutations(range(5))))
    for k in (1, 3, 5):
        ranked, _ = top_k(scores[orders], k)
        hit = np.take_along_axis(wanted[orders], ranked, axis=1)
        mean = ndcg(hit, np.full(len(orders), wanted.sum())).mean()
        assert mean == pytest.approx(sk.ndcg_score([wanted.astype(float)], [scores], k=k))


def test_items_of_equal_score_are_ranked_by_id_and_short_lists_end_in_empty_places():
    counts = [3, 1, 3, 1, 2, 3]
    random = np.random.default_rng(3)
    seen = [np.flatnonzero(random.random(6) < 0.5).tolist() for _ in range(20)]
    histories = pl.Series(
        [[f"i{item:02}" for item in row] for row in seen], dtype=pl.List(pl.String)
    )
    cases = pl.DataFrame(
        {
            "user_id": [str(row) for row in range(20)],
            "slice": "0",
            "history": histories,
            "targets": histories,
        }
    )
    among = np.array([True, True, True, True, False, True])
    ranked = rank_cases(model(counts), cases, 10, among=among)
    for row, met in zip(ranked.tolist(), seen, strict=True):
        left = [item for item in range(6) if item not in met and among[item]]
        expected = sorted(left, key=lambda item: (-counts[item], item))
        assert row == expected + [-1] * (6 - len(expected))


@pytest.mark.parametrize("k", CUTOFFS)
def test_gini_is_twice_the_area_between_the_lorenz_curve_and_equality_and_coverage_counts_items(
    given, k
):
    ranked, _ = given
    filled = ranked[:, :k][ranked[:, :k] >= 0]
    counts = np.sort(np.bincount(filled, minlength=N_ITEMS))
    lorenz = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    told = catalogue_metrics(ranked, N_ITEMS, [k])
    assert told[f"gini@{k}"] == pytest.approx(
        1 - 2 * sk.auc(np.linspace(0, 1, N_ITEMS + 1), lorenz)
    )
    assert told[f"coverage@{k}"] == pytest.approx(len(set(filled.tolist())) / N_ITEMS)
