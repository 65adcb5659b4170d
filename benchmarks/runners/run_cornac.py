"""Cornac 2.2: EASE, BPR, MultVAE (VAECF)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from _task import Fit, Model, Rank, Task, main
from cornac.data import Dataset
from cornac.models import BPR, EASE, VAECF

if not hasattr(sp.csr_matrix, "A"):  # SciPy 1.14 took away what VAECF still calls
    sp.csr_matrix.A = property(lambda matrix: matrix.toarray())


def model(make: Any) -> Model:
    def build(task: Task) -> Fit:
        # positions as ids, in order of first appearance: Cornac numbers them so
        ones = [1.0] * len(task.user)
        data = Dataset.from_uir(
            list(zip(task.user.tolist(), task.item.tolist(), ones, strict=True))
        )
        threads = {"num_threads": task.threads} if make is BPR else {}

        def fit() -> Rank:
            fitted = make(**task.settings, **threads, seed=task.seed, verbose=False).fit(data)
            return lambda: rank(fitted, data, task)

        return fit

    return build


def rank(fitted: Any, data: Dataset, task: Task) -> np.ndarray:
    places = np.array([data.iid_map[item] for item in range(len(task.items))])

    def scores(rows: np.ndarray) -> np.ndarray:
        users = [data.uid_map[int(task.cases[row])] for row in rows]
        return np.stack([np.asarray(fitted.score(user)).ravel()[places] for user in users])

    return task.best(scores)


if __name__ == "__main__":
    main({"ease": model(EASE), "bpr": model(BPR), "multvae": model(VAECF)})
