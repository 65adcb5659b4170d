"""The script of a model bundle, which `mlflow.pyfunc.load_model` runs.

It is copied into each bundle. It uses the installed augrec, or else the copy of the core in the
bundle, so it must not import augrec at the top.
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
        """Load the bundle's recommender, without pickle."""
        if importlib.util.find_spec("augrec") is None:
            sys.path.append(context.artifacts["core"])
        from augrec.recommenders.base import load

        artifacts = context.artifacts
        self.recommender = load(Path(artifacts.get("refit", artifacts["model"])))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Recommend `k` items (default 10) for each history; `exclude_seen` (default true) leaves
        out items of the history."""
        options = {"k": 10, "exclude_seen": True} | (params or {})
        histories = pl.Series(
            "history", [list(row) for row in model_input["history"]], dtype=pl.List(pl.String)
        )
        items, scores = self.recommender.recommend(
            histories, int(options["k"]), exclude_seen=bool(options["exclude_seen"])
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
