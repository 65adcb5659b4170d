"""Profiles in a space of few dimensions."""

import numpy as np
import pytest
import scipy.sparse as sp

from augrec.data.embedding import basis, unit


def two_tastes(n: int = 60) -> sp.csr_matrix:
    """Users of the first ten items, then users of the last ten."""
    random, table = np.random.default_rng(0), np.zeros((n, 20), np.float32)
    for user in range(n):
        table[user, random.choice(10, 5, replace=False) + 10 * (user >= n // 2)] = 1
    return sp.csr_matrix(table)


def test_the_first_directions_are_those_in_which_tastes_differ():
    profiles = two_tastes()
    places = unit(profiles) @ basis(profiles, 2, seed=1)  # (60, 2)
    lengths = np.linalg.norm(places, axis=1)
    cosine = (places @ places.T) / np.outer(lengths, lengths)
    assert np.abs(cosine[:30, :30]).min() > 0.9 and np.abs(cosine[:30, 30:]).max() < 0.3


def test_directions_are_orthonormal_strongest_first_and_the_same_every_time():
    profiles = two_tastes()
    directions = basis(profiles, 4, seed=1)
    assert directions.shape == (20, 4) and directions.dtype == np.float32
    assert np.allclose(directions.T @ directions, np.eye(4), atol=1e-5)
    strength = np.linalg.norm(unit(profiles) @ directions, axis=0)
    assert (np.diff(strength) <= 1e-5).all()
    assert np.array_equal(directions, basis(profiles, 4, seed=1))


@pytest.mark.parametrize(("shape", "d"), [((1, 5), 1), ((3, 5), 2), ((5, 3), 2)])
def test_small_tables_have_as_many_directions_as_they_allow(shape, d):
    table = sp.csr_matrix(np.eye(*shape, dtype=np.float32))
    assert basis(table, 16, seed=0).shape == (shape[1], d)


def test_rows_have_length_one_and_empty_ones_stay_empty():
    rows = unit(sp.csr_matrix(np.array([[1, 1, 0, 1], [0, 0, 0, 0]], np.float32)))
    assert np.allclose(sp.linalg.norm(rows, axis=1), [1, 0])
