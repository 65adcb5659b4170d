"""Rank the full catalogue for every case and keep each user's metrics."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augrec.data.columns import Columns as C
from augrec.data.config import parse
from augrec.data.split import TEST, VALID
from augrec.evaluation.catalogue import Catalogue, exposure
from augrec.evaluation.config import EvaluationConfig
from augrec.evaluation.heads import evaluate_heads
from augrec.evaluation.metrics import catalogue_metrics, per_case, rank_cases, summarise
from augrec.evaluation.summary import by_group, by_time
from augrec.files import read_json, whole_directory, write_json, write_parquet
from augrec.recommenders._heads import HasHeads
from augrec.recommenders.base import Recommender, load
from augrec.stages._training_set import FOLDER, read_table
from augrec.stages.runner import read_params, run

_log = logging.getLogger(__name__)


def main(recommender: str, policy: str) -> None:
    """Write reports/evaluation/<recommender>/<policy>: per_user.parquet and metrics.json; heads.parquet if it has heads."""
    config = parse(EvaluationConfig, read_params()["evaluation"], "evaluation")
    model = load(Path("models/recommenders") / recommender / policy)
    # real rows: the same yardstick for every policy
    train = pl.read_parquet("data/prepared/train.parquet", columns=[C.USER, C.ITEM])
    catalogue = Catalogue.of(model.items, train, pl.read_parquet("data/prepared/items.parquet"))
    # where only new items are wanted, familiar ones would fill every place
    rules = read_json(Path("data/prepared/split.json"))["rules"]
    among = catalogue.interactions == 0 if rules["new_items"] else None
    tables, of_heads, metrics = [], [], {}
    for split in (VALID, TEST):
        cases = read_table(FOLDER / f"cases_{split}.parquet", "training_set")
        measured, metrics[split] = _measure(model, cases, catalogue, config, among)
        tables.append(measured.select(pl.lit(split).alias("split"), pl.all()))
        if isinstance(model, HasHeads):
            interactions = pl.read_parquet("data/prepared/interactions.parquet")
            rows, metrics[split]["heads"] = evaluate_heads(model, cases, interactions, model.seed)
            of_heads.append(rows.select(pl.lit(split).alias("split"), pl.all()))
        _log.info("%s: %d cases, overall %s", split, len(cases), metrics[split]["overall"])
    with whole_directory(Path("reports/evaluation") / recommender / policy) as draft:
        write_parquet(draft / "per_user.parquet", pl.concat(tables))
        if of_heads:
            write_parquet(draft / "heads.parquet", pl.concat(of_heads))
        write_json(draft / "metrics.json", metrics)


def _measure(
    model: Recommender,
    cases: pl.DataFrame,
    catalogue: Catalogue,
    config: EvaluationConfig,
    among: np.ndarray | None,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The metrics of each case, and what is told of them all."""
    ranked = rank_cases(model, cases, max(config.cutoffs), among=among)
    measured = per_case(ranked, cases, model, config.cutoffs, catalogue)
    return measured, {
        **summarise(measured),
        "catalogue": catalogue_metrics(ranked, len(model.items), config.cutoffs),
        "items": exposure(ranked, cases["targets"], catalogue, config.cutoffs),
        "groups": by_group(measured, cases, max_groups=config.max_groups, min_users=config.min_group_users),
        "time": by_time(measured, cases),
    }


if __name__ == "__main__":
    run(main)
