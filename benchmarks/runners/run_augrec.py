"""augrec's recommenders, from the table of ids on. Items and users are given where there are
any."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from _task import Fit, Model, Rank, Task, data_ready, main

from augrec.core.component import available
from augrec.data.training_data import TrainingData
from augrec.recommenders.base import find


def model(name: str) -> Model:
    def build(task: Task) -> Fit:
        threads = {"threads": task.threads} if "threads" in find(name).Config.model_fields else {}
        files = {side: task.folder / f"{side}.parquet" for side in ("items", "users")}
        known: dict[str, Any] = {
            side: pl.read_parquet(file) for side, file in files.items() if file.exists()
        }

        def fit() -> Rank:
            fitted = find(name)(task.settings | threads, seed=task.seed)
            learn = fitted._fit

            def begin(data: TrainingData) -> None:
                _ = data.histories  # indexed before the clock of training starts
                data_ready()
                learn(data)

            fitted._fit = begin  # type: ignore[method-assign]
            fitted.fit(TrainingData(task.train, **known))

            def rank() -> np.ndarray:
                seen = pl.Series(
                    [task.items[items].tolist() for items in task.lists()], dtype=pl.List(pl.String)
                )
                return fitted.rank(seen, task.k)[0]

            return rank

        return fit

    return build


if __name__ == "__main__":
    main({name: model(name) for name in available("augrec.recommenders")})
