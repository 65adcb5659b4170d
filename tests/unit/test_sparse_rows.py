"""Rows of a sparse matrix, made dense a batch at a time, are the rows of the matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from augrec.nn.sparse_rows import SparseRows


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_dense_rows_are_the_rows_of_the_matrix(density):
    matrix = sp.random(30, 17, density, format="csr", random_state=1, dtype=np.float32)
    rows = np.array([3, 3, 29, 0, 11])
    sparse = SparseRows(matrix, torch.device("cpu"))
    expected = matrix[rows].toarray()
    assert np.array_equal(sparse.dense(torch.as_tensor(rows)).numpy(), expected)
    # what a GPU uses, where a CUDA graph must be able to capture it
    assert np.array_equal(sparse._dense_padded(torch.as_tensor(rows)).numpy(), expected)
