"""Rank the full catalogue for every held-out user and keep each user's metrics."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.config import parse
from augrec.data.histories import ItemIndex
from augrec.data.split import TEST, VALID
from augrec.evaluation.config import EvaluationConfig
from augrec.evaluation.metrics import catalogue_metrics, per_case, rank_cases, summarise
from augrec.files import whole_directory, write_json, write_parquet
from augrec.recommenders.base import load
from augrec.stages._training_set import FOLDER, read_table
from augrec.stages.runner import read_params, run

_log = logging.getLogger(__name__)


def main(recommender: str, policy: str) -> None:
    """Write reports/evaluation/<recommender>/<policy>: per_user.parquet and metrics.json."""
    config = parse(EvaluationConfig, read_params()["evaluation"], "evaluation")
    model = load(Path("models/recommenders") / recommender / policy)
    popularity = _popularity(pl.read_parquet("data/prepared/train.parquet", columns=[C.ITEM]), model.items)
    tables, metrics = [], {}
    for split in (VALID, TEST):
        cases = read_table(FOLDER / f"cases_{split}.parquet", "training_set")
        ranked = rank_cases(model, cases, max(config.cutoffs))
        measured = per_case(ranked, cases, model, config.cutoffs)
        catalogue = catalogue_metrics(ranked, len(model.items), popularity, config.cutoffs)
        metrics[split] = summarise(measured) | {"catalogue": catalogue}
        tables.append(measured.select(pl.lit(split).alias("split"), pl.all()))
        _log.info("%s: %d cases, overall %s", split, len(cases), metrics[split]["overall"])
    with whole_directory(Path("reports/evaluation") / recommender / policy) as draft:
        write_parquet(draft / "per_user.parquet", pl.concat(tables))
        write_json(draft / "metrics.json", metrics)


def _popularity(train: pl.DataFrame, items: ItemIndex) -> np.ndarray:
    """Each item's share of the real training interactions, the same yardstick for every policy; float64 (n_items,)."""
    positions = items.encode(train[C.ITEM])
    return np.bincount(positions[positions >= 0], minlength=len(items)) / len(train)


if __name__ == "__main__":
    run(main)
