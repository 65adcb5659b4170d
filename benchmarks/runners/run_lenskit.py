"""LensKit 2025: implicit ALS, EASE, item-KNN, BPR (FlexMF)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from _task import Fit, Model, Rank, Task, main
from lenskit.als import ImplicitMFScorer
from lenskit.data import ItemList, RecQuery, from_interactions_df
from lenskit.flexmf import FlexMFImplicitScorer
from lenskit.knn import EASEScorer, ItemKNNScorer
from lenskit.training import TrainingOptions


def model(scorer: Any) -> Model:
    def build(task: Task) -> Fit:
        table = pd.DataFrame({"user_id": task.users[task.user], "item_id": task.items[task.item]})
        data = from_interactions_df(table)

        def fit() -> Rank:
            fitted = scorer(**task.settings)
            fitted.train(data, TrainingOptions(rng=task.seed, device="cpu"))
            return lambda: rank(fitted, task)

        return fit

    return build


def rank(fitted: Any, task: Task) -> np.ndarray:
    seen, everything = task.lists(), ItemList(item_ids=task.items)

    def scores(rows: np.ndarray) -> np.ndarray:
        found = []
        for row in rows:
            query = RecQuery(
                user_id=task.users[task.cases[row]],
                user_items=ItemList(item_ids=task.items[seen[row]]),
            )
            found.append(fitted(query, everything).scores("numpy"))
        return np.nan_to_num(np.stack(found), nan=-1e9)  # no neighbour at all

    return task.best(scores)


if __name__ == "__main__":
    main(
        {
            "ials": model(ImplicitMFScorer),
            "ease": model(EASEScorer),
            "item_knn": model(ItemKNNScorer),
            "bpr": model(FlexMFImplicitScorer),
        }
    )
