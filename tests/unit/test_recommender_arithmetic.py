"""The fast paths of recommenders give what the plain ones give."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from torch.nn import functional as F

from augrec.data.training_data import TrainingData
from augrec.nn.lookup import sums, take
from augrec.recommenders import _product, item_knn
from augrec.recommenders._product import dense_product
from augrec.recommenders.base import find


def rows() -> pl.DataFrame:
    users, items = np.nonzero(np.random.default_rng(0).random((40, 15)) < 0.35)
    return pl.DataFrame(
        {"user_id": [f"u{user:02}" for user in users], "item_id": [f"i{item:02}" for item in items]}
    )


def random_matrix(n_rows: int, n_columns: int, dtype: type) -> sp.csr_matrix:
    return sp.random_array(
        (n_rows, n_columns), density=0.3, rng=np.random.default_rng(n_rows), dtype=dtype
    ).tocsr()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("large", [False, True])
def test_a_product_as_a_table_is_the_product(dtype, large, monkeypatch):
    monkeypatch.setattr(_product, "_CELLS", 3 * 5)
    left, right = (
        sp.csr_matrix(random_matrix(8, 11, dtype)),
        sp.csr_matrix(random_matrix(11, 5, dtype)),
    )
    product = dense_product(left, right, large=large)
    assert product.dtype == dtype
    np.testing.assert_allclose(product, left.toarray() @ right.toarray(), rtol=1e-5)


@pytest.mark.parametrize("name", ["item_knn", "ease"])
def test_a_model_of_much_data_is_the_same_as_that_of_little(name, monkeypatch):
    small = find(name)({}).fit(TrainingData(rows()))._model_state()
    monkeypatch.setattr(_product, "_LARGE", 0)
    large = find(name)({}).fit(TrainingData(rows()))._model_state()
    for part in small:
        np.testing.assert_allclose(small[part], large[part], rtol=1e-4, atol=1e-7)


def test_neighbours_found_among_all_items_are_those_found_among_the_pairs(monkeypatch):
    everything = find("item_knn")({"neighbours": 3}).fit(TrainingData(rows()))._model_state()
    monkeypatch.setattr(item_knn, "_FULL", np.inf)
    pairs = find("item_knn")({"neighbours": 3}).fit(TrainingData(rows()))._model_state()
    assert (everything["neighbours"] == pairs["neighbours"]).all()
    np.testing.assert_allclose(everything["similarity"], pairs["similarity"], rtol=1e-6)


def gradient(table: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    [found] = torch.autograd.grad((value * value).sum(), table)
    return found


def test_rows_taken_by_position_have_torchs_values_and_gradients():
    table = torch.randn(6, 4, requires_grad=True)
    positions = torch.tensor([[0, 2, 2], [5, 0, 2]])
    ours, theirs = take(table, positions), F.embedding(positions, table)
    assert (ours == theirs).all()
    torch.testing.assert_close(gradient(table, ours), gradient(table, theirs))


def test_sums_over_bags_have_torchs_values_and_gradients():
    table = torch.randn(6, 4, requires_grad=True)
    positions, lengths = torch.tensor([1, 1, 5, 0, 3]), torch.tensor([2, 0, 3])
    starts = lengths.cumsum(0) - lengths
    ours, theirs = (
        sums(table, positions, starts, lengths),
        F.embedding_bag(positions, table, starts, mode="sum"),
    )
    assert (ours == theirs).all()
    assert (ours[1] == 0).all()
    torch.testing.assert_close(gradient(table, ours), gradient(table, theirs))
