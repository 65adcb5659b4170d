"""RecTools 0.19: EASE (its weights are transposed when it scores), SASRec."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd
from _task import Fit, Model, Rank, Task, main
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel, SASRecModel

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def model(make: Any) -> Model:
    def build(task: Task) -> Fit:
        table = pd.DataFrame(
            {
                Columns.User: task.user,
                Columns.Item: task.item,
                Columns.Weight: 1.0,
                Columns.Datetime: task.train["timestamp"].dt.replace_time_zone(None).to_numpy(),
            }
        )
        data = Dataset.construct(table)

        def fit() -> Rank:
            if make is SASRecModel:
                from pytorch_lightning import seed_everything

                seed_everything(task.seed)
            fitted = make(**task.settings)
            fitted.fit(data)
            return lambda: rank(fitted, data, task)

        return fit

    return build


def rank(fitted: Any, data: Dataset, task: Task) -> np.ndarray:
    """Users without a list (SASRec passes over those of one item) keep empty places."""
    found = fitted.recommend(
        users=task.cases,
        dataset=data,
        k=task.k,
        filter_viewed=True,
        on_unsupported_targets="ignore",
    )
    places = np.full((len(task.cases), task.k), -1)
    row = pd.Series(np.arange(len(task.cases)), index=task.cases)[found[Columns.User]].to_numpy()
    places[row, found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    return places


if __name__ == "__main__":
    main({"ease": model(EASEModel), "sasrec": model(SASRecModel)})
