"""The audit's measures against brute force and an independent library."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from augrec.audit.diversity import diversity
from augrec.audit.fidelity import fidelity
from augrec.audit.membership import attack, length_weights
from augrec.audit.nearest import fingerprints, nearest


def random_profiles(n: int, seed: int, n_items: int = 40) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    return sp.csr_matrix((rng.random((n, n_items)) < rng.random((n, 1)) * 0.6).astype(np.float32))


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))


def test_nearest_neighbours_are_those_of_brute_force(monkeypatch):
    monkeypatch.setattr("augrec.data.similarity._CELLS_AT_ONCE", 100)
    queries, references = random_profiles(23, 1), random_profiles(17, 2)
    table = np.array(
        [[jaccard(q > 0, r > 0) for r in references.toarray()] for q in queries.toarray()]
    )
    similarity, position = nearest(queries, references, 3)
    assert np.allclose(similarity, np.sort(table, axis=1)[:, -3:].mean(axis=1))
    assert (table[np.arange(23), position] == table.max(axis=1)).all()


def test_no_user_is_their_own_neighbour():
    people = random_profiles(12, 3)
    table = np.array([[jaccard(a > 0, b > 0) for b in people.toarray()] for a in people.toarray()])
    np.fill_diagonal(table, 0)
    assert np.allclose(nearest(people, people, own=np.arange(12))[0], table.max(axis=1))


def test_without_references_no_user_is_near():
    assert nearest(random_profiles(4, 1), random_profiles(0, 1))[0].tolist() == [0, 0, 0, 0]


def test_equal_profiles_have_equal_fingerprints_and_others_do_not():
    people = random_profiles(60, 4)
    keys = fingerprints(sp.vstack([people, people[::-1]]).tocsr())
    assert (keys[:60] == keys[60:][::-1]).all()
    assert len(np.unique(keys)) == len(np.unique(people.toarray(), axis=0))


def test_weights_make_lengths_alike():
    rng = np.random.default_rng(5)
    members, others = rng.integers(1, 200, 800), rng.geometric(0.03, 150)
    weights = length_weights(members, others)
    assert weights[0].sum() == pytest.approx(1) and weights[1].sum() == pytest.approx(1)
    assert abs(members.mean() - others.mean()) > 20
    assert weights[0] @ members == pytest.approx(weights[1] @ others, rel=0.06)


def test_groups_without_a_common_length_cannot_be_compared():
    weights = length_weights(np.array([1, 2, 2]), np.array([100, 120]))
    assert not weights[0].any() and not weights[1].any()


def test_the_area_under_the_roc_is_that_of_scikit_learn():
    rng = np.random.default_rng(6)
    members, others = rng.normal(0.5, 1, 90).round(1), rng.normal(0, 1, 70).round(1)
    weights = rng.dirichlet(np.ones(90)), rng.dirichlet(np.ones(70))
    found = attack(members, others, *weights, samples=200, confidence=0.95, seed=1)
    truth = np.repeat([1, 0], [90, 70])
    expected = roc_auc_score(
        truth, np.concatenate([members, others]), sample_weight=np.concatenate(weights)
    )
    assert found.auc == pytest.approx(expected)
    assert found.low < expected < found.high
    area = np.trapezoid(found.true_positive_rate, found.false_positive_rate)
    assert area == pytest.approx(expected, abs=0.01)


def test_the_interval_of_the_attack_holds_the_truth_about_as_often_as_it_says():
    rng, weights = np.random.default_rng(7), (np.full(80, 1 / 80), np.full(60, 1 / 60))
    held = 0
    for trial in range(100):
        found = attack(
            rng.normal(size=80),
            rng.normal(size=60),
            *weights,
            samples=200,
            confidence=0.9,
            seed=trial,
        )
        held += found.low <= 0.5 <= found.high
    assert 80 <= held <= 98


def test_the_true_positive_rate_is_read_where_few_are_accused_wrongly():
    members, others = np.array([5.0, 4.0, 1.0, 1.0]), np.concatenate([np.zeros(99), [4.5]])
    weights = np.full(4, 0.25), np.full(100, 0.01)
    assert (
        attack(members, others, *weights, samples=10, confidence=0.9, seed=1).tpr_at_1_percent_fpr
        == 1.0
    )
    worse = np.concatenate([np.zeros(98), [4.5, 4.5]])
    assert (
        attack(members, worse, *weights, samples=10, confidence=0.9, seed=1).tpr_at_1_percent_fpr
        == 0.25
    )


def test_a_table_is_perfectly_faithful_to_itself():
    people = random_profiles(80, 8)
    measures = fidelity(people, people, 20)
    assert measures["length_ks"] == 0 and measures["length_distance"] == 0
    assert measures["popularity_correlation"] == pytest.approx(1) and measures[
        "pair_correlation"
    ] == pytest.approx(1)


def test_what_cannot_be_measured_is_none():
    one_item = sp.csr_matrix(np.ones((5, 1), np.float32))
    assert fidelity(one_item, one_item, 10)["popularity_correlation"] is None
    assert fidelity(one_item, one_item, 10)["pair_correlation"] is None
    measures = diversity(
        one_item, one_item, max_users=5, min_profile=3, random=np.random.default_rng(0)
    )
    assert measures["duplicate_share"] is None
    assert measures["item_coverage"] == 1.0
