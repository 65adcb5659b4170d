"""The script of a model bundle, which MLflow runs when anybody loads the bundle with
`mlflow.pyfunc.load_model`.

It is copied into each bundle, so it may import nothing of augrec before it has made sure that there
is one: an installed augrec is used where there is one, and the copy of the core that the bundle
carries everywhere else.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class BundledRecommender(PythonModel):
    """Input: a column `history` of lists of item ids, oldest first. Output: columns `items`,
    `scores`, best first."""

    def load_context(self, context: Any) -> None:
        """Load the recommender the bundle holds; nothing is unpickled."""
        if importlib.util.find_spec("augrec") is None:
            sys.path.append(context.artifacts["core"])
        from augrec.recommenders.base import load

        self.recommender = load(Path(context.artifacts["model"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Recommend `k` items (default 10) for each history; `exclude_seen` leaves out items of the
        history."""
        told = {"k": 10, "exclude_seen": True} | (params or {})
        histories = pl.Series(
            "history", [list(row) for row in model_input["history"]], dtype=pl.List(pl.String)
        )
        items, scores = self.recommender.recommend(
            histories, int(told["k"]), exclude_seen=bool(told["exclude_seen"])
        )
        filled = items != ""
        return pd.DataFrame(
            {
                "items": [row[keep].tolist() for row, keep in zip(items, filled, strict=True)],
                "scores": [
                    row[keep].tolist()
                    for row, keep in zip(scores.astype(float), filled, strict=True)
                ],
            }
        )


set_model(BundledRecommender())
