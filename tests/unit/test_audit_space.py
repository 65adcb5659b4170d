"""The space people are placed in, and what is measured there, against planted structure and brute
force."""

import numpy as np
import pytest
import scipy.sparse as sp

from augrec.audit.diversity import manifold
from augrec.audit.fidelity import cluster_fidelity
from augrec.audit.nearest import distance_ratios, singled_out
from augrec.audit.space import Space, effective_number, k_means, principal_components
from augrec.audit.two_sample import two_sample_test

N_ITEMS = 120


def people(n: int, seed: int, kinds: tuple[int, ...] = (0, 1, 2, 3)) -> sp.csr_matrix:
    """0/1 profiles of 5 to 24 items; each kind of person likes another quarter of the items,
    popular ones first."""
    rng, rows = np.random.default_rng(seed), []
    items = np.arange(N_ITEMS)
    for _ in range(n):
        chances = np.where(items % 4 == rng.choice(kinds), 12.0, 1.0) / (10 + items)
        row = np.zeros(N_ITEMS, np.float32)
        row[rng.choice(N_ITEMS, rng.integers(5, 25), replace=False, p=chances / chances.sum())] = 1
        rows.append(row)
    return sp.csr_matrix(np.array(rows))


def space(real: sp.csr_matrix, synthetic: sp.csr_matrix) -> Space:
    return Space.of(real, synthetic, dimensions=8, max_users=500, seed=3)


def test_the_space_is_that_of_a_full_singular_value_decomposition():
    profiles = people(90, 1)
    dense = profiles.toarray().astype(float)
    dense /= np.sqrt(dense.sum(axis=1, keepdims=True))
    dense -= dense.mean(axis=0)
    left, scale, _ = np.linalg.svd(dense, full_matrices=False)
    found = principal_components(profiles, 5, np.random.default_rng(0))
    assert np.allclose(np.abs(found[:, :3]), np.abs(left[:, :3] * scale[:3]), atol=0.01)
    assert (found[np.abs(found).argmax(axis=0), np.arange(5)] > 0).all()


def test_k_means_finds_planted_clusters():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 200)
    points = np.eye(4)[truth] * 10 + rng.normal(size=(200, 4))
    found = k_means(points, 4, seed=1)
    assert len({(a, b) for a, b in zip(truth, found, strict=True)}) == 4
    assert effective_number(found) == pytest.approx(effective_number(truth))
    assert effective_number(np.array([0, 0, 1, 1])) == pytest.approx(2)


def test_users_of_the_same_kinds_cannot_be_distinguished_and_fill_the_same_space():
    real, synthetic = people(300, 1), people(300, 2)
    placed = space(real, synthetic)
    tested = two_sample_test(placed, real, synthetic, folds=5, confidence=0.95, seed=1)
    assert tested["c2st_accuracy_low"] < 0.5 < tested["c2st_accuracy_high"]
    assert tested["c2st_auc"] == pytest.approx(0.5, abs=0.08)
    found = manifold(placed.real, placed.synthetic, 5, np.random.default_rng(0))
    assert found["precision"] == pytest.approx(found["precision_real"], abs=0.05)
    assert found["recall"] == pytest.approx(found["recall_real"], abs=0.05)
    assert found["density"] == pytest.approx(1, abs=0.1)
    assert found["coverage"] == pytest.approx(found["coverage_expected"], abs=0.05)


def test_a_sample_that_lacks_two_of_four_kinds_is_distinguished_precise_and_short_of_recall():
    real, synthetic = people(300, 1), people(300, 2, kinds=(0, 1))
    placed = space(real, synthetic)
    assert (
        two_sample_test(placed, real, synthetic, folds=5, confidence=0.95, seed=1)[
            "c2st_accuracy_low"
        ]
        > 0.6
    )
    found = manifold(placed.real, placed.synthetic, 5, np.random.default_rng(0))
    assert found["precision"] > 0.9 and found["recall"] < found["recall_real"] - 0.15
    assert found["coverage"] < found["coverage_expected"] - 0.2
    labels = k_means(np.vstack([placed.real, placed.synthetic]), 4, seed=1)
    alike = cluster_fidelity(labels[:300], labels[300:], seed=1)
    assert alike["cluster_distance"] == pytest.approx(0.5, abs=0.1)
    assert alike["cluster_distance_chance"] < 0.1


def test_precision_recall_density_and_coverage_are_those_of_their_definitions():
    rng = np.random.default_rng(4)
    real, synthetic, k = rng.normal(size=(40, 3)), rng.normal(0.4, 0.7, size=(30, 3)), 3

    def away(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.linalg.norm(a - b))

    def reach(points: np.ndarray, at: int) -> float:
        return sorted(away(points[at], other) for i, other in enumerate(points) if i != at)[k - 1]

    in_real = [[away(r, s) <= reach(real, i) for s in synthetic] for i, r in enumerate(real)]
    in_synthetic = [
        [away(r, s) <= reach(synthetic, j) for j, s in enumerate(synthetic)] for r in real
    ]
    found = manifold(real, synthetic, k, np.random.default_rng(0))
    assert found["precision"] == pytest.approx(np.any(in_real, axis=0).mean())
    assert found["recall"] == pytest.approx(np.any(in_synthetic, axis=1).mean())
    assert found["density"] == pytest.approx(np.sum(in_real) / (k * 30))
    assert found["coverage"] == pytest.approx(np.any(in_real, axis=1).mean())


def test_with_too_few_users_there_is_no_manifold():
    points = np.zeros((3, 2))
    assert set(manifold(points, points, 5, np.random.default_rng(0)).values()) == {None}


def test_distance_ratios_are_those_of_brute_force_and_a_copy_stands_out():
    real = people(60, 5)
    dense = real.toarray() > 0
    queries = people(20, 6).toarray() > 0
    queries[0] = dense[7]
    away = np.array([[1 - (q & r).sum() / max((q | r).sum(), 1) for r in dense] for q in queries])
    nearest = np.sort(away, axis=1)[:, :2]
    found = distance_ratios(sp.csr_matrix(queries.astype(np.float32)), real)
    assert np.allclose(found, nearest[:, 0] / nearest[:, 1])
    assert found[0] == 0 and found[1:].min() > 0.5


def test_users_alike_are_singled_out_as_rarely_as_the_quantile_says():
    rng, shares = np.random.default_rng(7), []
    for _ in range(40):
        lengths = rng.integers(3, 60, 700)
        ratios = 1 - rng.beta(1, 4, 700) / np.sqrt(lengths)
        parts = [(ratios[part], lengths[part]) for part in (slice(350), slice(350, None))]
        shares.append(singled_out(*parts, 0.01, samples=100, confidence=0.95, random=rng))
    assert np.mean([share[0] for share in shares]) == pytest.approx(0.014, abs=0.008)
    assert max(share[1] for share in shares) < 0.05
    assert all(low <= share <= high for share, low, high in shares)
